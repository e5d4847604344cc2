-- Purpose: everything that is read for people: exams, one student's bookings, one booking, all for staff.
-- Inputs: ids, paging, and today's date in the business time zone (the caller knows the zone).
-- Results: jsonb in the names of lastseat.model.
-- Invariant: reads only, answered by indexes.

create or replace function hubspot_sync.exam_json(e hubspot_sync.hubspot_mock_exams) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'hubspot_id', e.hubspot_id, 'mock_exam_name', e.mock_exam_name, 'mock_type', e.mock_type,
        'exam_date', e.exam_date, 'start_time', e.start_time, 'end_time', e.end_time, 'location', e.location,
        'capacity', coalesce(e.capacity, 0), 'total_bookings', e.seats_taken, 'is_active', e.is_active,
        'opens_at', e.opens_at, 'starts_at', e.starts_at, 'created_at', e.created_at, 'updated_at', e.updated_at,
        'synced_at', e.synced_at)
$$;

create or replace function lastseat_api.exams(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('exams', coalesce(jsonb_agg(exam_json(e) order by e.exam_date, e.start_time,
                                                                                e.hubspot_id), '[]'))
      from hubspot_mock_exams e
     where e.archived_at is null and (not e.shut or coalesce(shut_because(e), 'not_open_yet') = 'not_open_yet')
       and e.exam_date >= (args ->> 'today')::date
       and e.is_active in ('active', 'scheduled')
$$;

create or replace function lastseat_api.exam(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('exam', (select exam_json(e) from hubspot_mock_exams e
                                        where e.hubspot_id = args ->> 'exam_id' and e.archived_at is null))
$$;

create or replace function lastseat_api.bookings(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('bookings', coalesce(jsonb_agg(to_jsonb(s) - 'booking_key'
               order by s.exam_date desc nulls last, s.created_at desc nulls last), '[]'))
      from bookings_shown s where s.contact_id = args ->> 'contact_id'
$$;

create or replace function lastseat_api.booking(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('booking', (
        select to_jsonb(s) - 'booking_key' from bookings_shown s
         where s.booking_key = args ->> 'reference' or s.hubspot_id = args ->> 'reference'
         order by s.hubspot_id = args ->> 'reference' desc nulls last, s.created_at desc limit 1))
$$;

-- A few contacts by name, for the demo's sign-in list.
create or replace function lastseat_api.sample_contacts(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('contacts', coalesce(jsonb_agg(jsonb_build_object(
               'contact_id', c.hubspot_id, 'student_id', c.student_id,
               'name', concat_ws(' ', c.firstname, c.lastname)) order by c.student_id), '[]'))
      from (select * from hubspot_contacts where archived_at is null order by student_id
             limit (args ->> 'limit')::integer) c
$$;

-- Purpose: what staff reads: everybody's bookings, one exam's and all exams, page by page, and one exam with what students
-- never see.
-- Inputs: {"offset", "limit"}, {"exam_id"}, or all three.
-- Results: {"total", "bookings"} (of an exam with "known"), {"total", "exams"}, {"exam"}, in the names of lastseat.model.
-- Invariant: reads only; a page is found by an index, however many rows there are.

-- Claims that HubSpot has no record of come first, the newest first; then the records, the latest exam first.
create or replace function lastseat_api.all_bookings(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    with asked as materialized (
        select (args ->> 'offset')::bigint as skip, (args ->> 'limit')::bigint as most
    ), waiting as materialized (
        select c.booking_id, c.contact_id, row_number() over (order by c.created_at desc, c.booking_id) as nth from claims c
         where c.hubspot_id is null and (c.state = 'open' or c.updated_at > now() - interval '30 days')
    ), counted as materialized (
        select (select count(*) from waiting) as waiting,
               (select count(*) from hubspot_bookings where archived_at is null) as records
    ), records as materialized (
        select b.hubspot_id, row_number() over (order by b.exam_date desc nulls last, b.hubspot_id desc) as nth from (
            select * from hubspot_bookings where archived_at is null
             order by exam_date desc nulls last, hubspot_id desc
            offset greatest((select a.skip - c.waiting from asked a, counted c), 0)
             limit greatest((select a.most - greatest(c.waiting - a.skip, 0) from asked a, counted c), 0)) b
    ), page as (
        select 0 as part, w.nth, s.shown from waiting w cross join asked a cross join lateral (
            select to_jsonb(s) - 'booking_key' as shown from bookings_shown s
             where s.booking_key = w.booking_id and s.contact_id = w.contact_id
             order by s.hubspot_id nulls first limit 1) s
         where w.nth > a.skip and w.nth <= a.skip + a.most
        union all
        select 1, r.nth, s.shown from records r cross join lateral (
            -- One look-up per row of the page: without the limit the planner joins all bookings to it.
            select to_jsonb(s) - 'booking_key' as shown from bookings_shown s where s.hubspot_id = r.hubspot_id
             limit 1) s
    )
    select jsonb_build_object(
        'total', (select waiting + records from counted),
        'bookings', (select coalesce(jsonb_agg(p.shown order by p.part, p.nth), '[]') from page p))
$$;

-- Who has a seat in an exam or waits for one, by name. All of them are counted and put in order for each page: they are
-- no more than the exam has seats, or an import brought.
create or replace function lastseat_api.exam_bookings(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    with present as materialized (
        select b.hubspot_id, b.hubspot_id as id, b.contact_id, b.student_name from hubspot_bookings b
         where b.mock_exam_id = args ->> 'exam_id' and b.holds
        union all
        select null, c.booking_id, c.contact_id, c.properties ->> 'student_name' from claims c
         where c.exam_id = args ->> 'exam_id' and c.state = 'open'
    ), page as materialized (
        select p.*, row_number() over (order by p.student_name, p.id) as nth from present p
         order by nth offset (args ->> 'offset')::bigint limit (args ->> 'limit')::bigint
    ), found as (
        -- One look-up per row of the page, as in all_bookings.
        select p.nth, s.shown from page p cross join lateral (
            select to_jsonb(s) - 'booking_key' as shown from bookings_shown s where s.hubspot_id = p.hubspot_id
             limit 1) s
        union all
        select p.nth, s.shown from page p cross join lateral (
            select to_jsonb(s) - 'booking_key' as shown from bookings_shown s
             where s.booking_key = p.id and s.contact_id = p.contact_id
             order by s.hubspot_id nulls first limit 1) s
         where p.hubspot_id is null
    )
    select jsonb_build_object(
        'known', exists (select from hubspot_mock_exams e where e.hubspot_id = args ->> 'exam_id'),
        'total', (select count(*) from present),
        'bookings', (select coalesce(jsonb_agg(f.shown order by f.nth), '[]') from found f))
$$;

create or replace function lastseat_api.all_exams(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'total', (select count(*) from hubspot_mock_exams),
        'exams', (select coalesce(jsonb_agg(staff_exam_json(e) order by e.exam_date desc nulls last,
                                                                        e.hubspot_id desc), '[]')
                    from (select * from hubspot_mock_exams order by exam_date desc nulls last, hubspot_id desc
                          offset (args ->> 'offset')::bigint limit (args ->> 'limit')::bigint) e))
$$;

create or replace function lastseat_api.staff_exam(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('exam', (select staff_exam_json(e) from hubspot_mock_exams e
                                        where e.hubspot_id = args ->> 'exam_id'))
$$;

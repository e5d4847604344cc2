-- Purpose: the words that every function shares: is an exam open, its gate, a booking as shown, the relay's term.
-- Inputs: rows of hubspot_sync.
-- Results: jsonb in the names of lastseat.model.
-- Invariant: reads only; a term that is not the current one stops the transaction.

-- The seats that may be given: what HubSpot holds, or less while a change under way lowers it.
create or replace function hubspot_sync.seats_of(exam hubspot_sync.hubspot_mock_exams) returns integer
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select least(exam.capacity, exam.capacity_bound)
$$;

-- What HubSpot said, without the nulls that unsay what is known: a booking's exam and contact, and what we just sent.
-- HubSpot: an unset property reads back as null or not at all (2026); a seat freed by that would be sold again.
create or replace function hubspot_sync.said(fields jsonb, sent jsonb default '{}') returns jsonb
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(fields - array(select f.key from jsonb_each(fields) f
                                    where f.value = 'null' and (f.key in ('mock_exam_id', 'contact_id')
                                                                or sent ->> f.key is not null)), '{}')
$$;

-- When booking ends: at the start, or without a readable start with the exam's day in the school's zone. Limit: a row
-- mirrored before we kept that instant is taken to be in the zone where days end last, 12 hours after UTC's.
create or replace function hubspot_sync.closes_at(exam hubspot_sync.hubspot_mock_exams) returns timestamptz
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(exam.starts_at, exam.day_ends_at,
                    (exam.exam_date + 1)::timestamp at time zone 'UTC' + interval '12 hours')
$$;

-- Why nobody can book an exam with these columns: 'inactive', 'not_open_yet' or 'past'; null: it is open.
create or replace function hubspot_sync.closed_by_itself(exam hubspot_sync.hubspot_mock_exams) returns text
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select case
        when exam.archived_at is not null or exam.capacity is null then 'inactive'
        when closes_at(exam) <= now() then 'past'
        when exam.is_active = 'active' and coalesce(exam.opens_at, '-infinity') <= now() then null
        when exam.is_active = 'scheduled' and exam.opens_at <= now() then null
        when exam.opens_at > now() and exam.is_active in ('active', 'scheduled') then 'not_open_yet'
        when exam.is_active = 'scheduled' then 'not_open_yet'
        else 'inactive'
    end
$$;

-- The exam as it will be when the changes under way, up to this one, are acknowledged.
create or replace function hubspot_sync.intended(exam hubspot_sync.hubspot_mock_exams, last bigint)
    returns hubspot_sync.hubspot_mock_exams
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_populate_record(exam, coalesce(jsonb_object_agg(f.key, f.value order by o.outbox_id), '{}')
                                       || '{"shut": false, "capacity_bound": null}')
      from outbox o cross join jsonb_each(o.fields) f
     where o.exam_id = exam.hubspot_id and o.kind = 'exam_update' and o.state in ('waiting', 'sent')
       and o.outbox_id <= last
$$;

-- Why a change under way closes the exam; null: none does. What hides it counts before what only announces it.
create or replace function hubspot_sync.shut_because(exam hubspot_sync.hubspot_mock_exams) returns text
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select r.reason
      from outbox o
     cross join lateral (select case when o.kind = 'exam_archive' then 'inactive'
                                     else closed_by_itself(intended(exam, o.outbox_id)) end as reason) r
     where o.exam_id = exam.hubspot_id and o.state in ('waiting', 'sent') and r.reason is not null
       and (o.kind = 'exam_archive' or o.kind = 'exam_update'
            and o.fields ?| '{is_active,opens_at,exam_date,start_time}')
     order by array_position('{inactive,past,not_open_yet}', r.reason) limit 1
$$;

-- null: open. Otherwise why nobody can book, by the exam's own columns or by a change under way.
create or replace function hubspot_sync.closed_because(exam hubspot_sync.hubspot_mock_exams) returns text
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select case when not exam.shut then closed_by_itself(exam) else (
        select r.reason from unnest(array[closed_by_itself(exam), shut_because(exam)]) r (reason)
         where r.reason is not null
         order by array_position('{inactive,past,not_open_yet}', r.reason) limit 1) end
$$;

create or replace function hubspot_sync.gate_of(exam hubspot_sync.hubspot_mock_exams) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'exam_id', exam.hubspot_id,
        'version', exam.seats_version,
        'capacity', coalesce(seats_of(exam), 0),
        'taken', exam.seats_taken,
        'remaining', greatest(coalesce(seats_of(exam), 0) - exam.seats_taken, 0),
        'open', closed_because(exam) is null)
$$;

create or replace function hubspot_sync.gates_of(exam_ids text[]) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_agg(gate_of(e)), '[]') from hubspot_mock_exams e where e.hubspot_id = any (exam_ids)
$$;

-- Crash: after the database's clock went back, what it wrote down lies in the future. Limit: nothing of ours is put off
-- for an hour, so what is that far away is due.
create or replace function hubspot_sync.is_due(at timestamptz) returns boolean
    language sql volatile set search_path = hubspot_sync, pg_temp as $$
    select at <= clock_timestamp() or at > clock_timestamp() + interval '1 hour'
$$;

-- What students and staff see: mirrored bookings, and the claims without a record: open, refused, or
-- cancelled before HubSpot saw them.
create or replace view hubspot_sync.bookings_shown as
    select b.booking_id, b.booking_key, b.hubspot_id, b.mock_exam_id, b.contact_id, b.student_id, b.student_name,
           b.student_email, b.booking_status, b.is_active, b.attendance, b.attending_location,
           coalesce(e.exam_date, b.exam_date) as exam_date, b.dominant_hand, null::text as reason,
           e.mock_exam_name, e.mock_type, e.location, e.start_time, e.end_time, b.created_at, b.updated_at, b.synced_at
      from hubspot_sync.hubspot_bookings b
      left join hubspot_sync.hubspot_mock_exams e on e.hubspot_id = b.mock_exam_id
     where b.archived_at is null
    union all
    select c.booking_id, c.booking_id, null, c.exam_id, c.contact_id, c.properties ->> 'student_id',
           c.properties ->> 'student_name', c.properties ->> 'student_email',
           case c.state when 'open' then 'pending' else c.state end,
           case c.state when 'open' then 'Pending' else initcap(c.state) end,
           null, c.properties ->> 'attending_location', e.exam_date, c.properties ->> 'dominant_hand', c.reason,
           e.mock_exam_name, e.mock_type, e.location, e.start_time, e.end_time, c.created_at, c.updated_at, c.updated_at
      from hubspot_sync.claims c
      left join hubspot_sync.hubspot_mock_exams e on e.hubspot_id = c.exam_id
     where c.hubspot_id is null and (c.state = 'open' or c.updated_at > now() - interval '30 days');

-- The claims of these ids with what their students see, in one query: one for each row would be planned and started
-- for each. A claim without a record is looked for by its contact too: by the key alone the planner may read all claims
-- that have none.
create or replace function hubspot_sync.claims_json(ids uuid[]) returns table (claim_id uuid, claim jsonb)
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select c.claim_id, jsonb_build_object(
        'claim_id', c.claim_id, 'booking_id', c.booking_id, 'exam_id', c.exam_id, 'contact_id', c.contact_id,
        'state', c.state, 'hubspot_id', c.hubspot_id, 'reason', c.reason,
        'cancel_requested', c.cancel_requested_at is not null,
        'booking', coalesce(
            (select to_jsonb(s) - 'booking_key' from bookings_shown s
              where s.booking_key = c.booking_id and s.hubspot_id is not null order by s.hubspot_id limit 1),
            (select to_jsonb(s) - 'booking_key' from bookings_shown s
              where s.booking_key = c.booking_id and s.contact_id = c.contact_id limit 1)))
      from claims c where c.claim_id = any (ids)
$$;

-- Seats were given back: HubSpot is told, where it has counted them or is about to. (Where it has counted too few, the
-- bookings that are on their way will tell.)
create or replace function hubspot_sync.queue_totals(exam_ids text[]) returns void
    language sql set search_path = hubspot_sync, pg_temp as $$
    insert into outbox (kind, exam_id)
    select 'count', e.hubspot_id from hubspot_mock_exams e
     where e.hubspot_id = any (exam_ids)
       and (coalesce(e.total_bookings, 0) > e.seats_taken
            or exists (select from outbox o where o.kind = 'count' and o.state = 'sent' and o.exam_id = e.hubspot_id))
    on conflict (exam_id) where kind = 'count' and state = 'waiting' do nothing
$$;

-- Crash: a relay that was paused past its lease wakes here, and stops. FOR SHARE makes a takeover wait for the
-- transactions of the term before it, so none of them can commit after its successor began.
create or replace function hubspot_sync.check_term(given bigint) returns void
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
begin
    perform 1 from relay_lease where term = given and expires_at > clock_timestamp() for share;
    if not found then
        raise exception 'the relay lease of term % is over', given using errcode = 'LS001';
    end if;
end
$$;

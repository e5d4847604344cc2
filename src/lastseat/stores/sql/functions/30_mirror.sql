-- Purpose: the one way in for any HubSpot record: the relay, the seeding, and whatever reads HubSpot later.
-- Inputs: facts [{hubspot_id, key?, fields, created_at?, updated_at?, archived?}]; fields hold only what was read.
-- Results: {"exam_ids": [..], "contacts": [..]} that changed; lastseat_api.mirror adds gates.
-- Invariant: I2; rows only move forward in time; a fact is recorded even when it oversells, never refused.

create or replace function hubspot_sync.read_facts(facts jsonb) returns table (
    hubspot_id text, key text, fields jsonb, created_at timestamptz, updated_at timestamptz, archived boolean,
    actor text, request_id text
) language sql stable set search_path = hubspot_sync, pg_temp as $$
    select distinct on (f ->> 'hubspot_id') f ->> 'hubspot_id', f ->> 'key',
           coalesce(f -> 'fields', '{}') - '{id,hubspot_id,booking_key,exam_key,holds,seats_taken,seats_version,capacity_bound,shut,synced_at}'::text[],
           (f ->> 'created_at')::timestamptz, (f ->> 'updated_at')::timestamptz,
           coalesce((f ->> 'archived')::boolean, false), f ->> 'actor', f ->> 'request_id'
      from jsonb_array_elements(facts) f
     where f ->> 'hubspot_id' is not null
     order by f ->> 'hubspot_id', (f ->> 'updated_at')::timestamptz desc nulls last
$$;

-- Takes the exams' locks in id order, so that seats move with the rows that hold them.
create or replace function hubspot_sync.lock_exams_of(facts jsonb) returns text[]
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    exam_ids text[];
begin
    -- Race: a booking of an exam that is being inserted would be counted by neither; see mirror_exams.
    perform pg_advisory_xact_lock_shared(7261);
    select coalesce(array_agg(distinct x.exam_id), '{}') into exam_ids from (
        select f ->> 'hubspot_id' as hubspot_id, f ->> 'key' as key, f -> 'fields' ->> 'mock_exam_id' as exam_id
          from jsonb_array_elements(facts) f
    ) i cross join lateral (
        select i.exam_id
        union select b.mock_exam_id from hubspot_bookings b where b.hubspot_id = i.hubspot_id
        union select c.exam_id from claims c where c.booking_id = i.key or c.hubspot_id = i.hubspot_id
    ) x where x.exam_id is not null;
    perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;
    return exam_ids;
end
$$;

create or replace function hubspot_sync.mirror_bookings(facts jsonb, actor text) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    exam_ids text[] := lock_exams_of(facts);
    contacts jsonb;
begin
    with incoming as materialized (
        -- A record of a claim that was read without its exam or contact has the claim's.
        select i.hubspot_id, i.key, i.created_at, i.updated_at, i.archived, i.actor, i.request_id,
               case when c.claim_id is null then i.fields
                    when o.hubspot_id is not null then said(i.fields)
                    else jsonb_build_object('mock_exam_id', c.exam_id, 'contact_id', c.contact_id) || said(i.fields)
               end as fields
          from read_facts(facts) i
          left join claims c on c.booking_id = i.key
          left join hubspot_bookings o on o.hubspot_id = i.hubspot_id
    ), upserted as (
        insert into hubspot_bookings as b (
            hubspot_id, booking_key, booking_id, mock_exam_id, contact_id, student_id, student_name, student_email,
            booking_status, is_active, attendance, attending_location, exam_date, dominant_hand, created_at,
            updated_at, archived_at, synced_at)
        select i.hubspot_id, coalesce(i.key, o.booking_key), r.booking_id, r.mock_exam_id, r.contact_id, r.student_id,
               r.student_name, r.student_email, r.booking_status, r.is_active, r.attendance, r.attending_location,
               r.exam_date, r.dominant_hand, coalesce(i.created_at, o.created_at),
               coalesce(i.updated_at, o.updated_at),
               case when i.archived then coalesce(o.archived_at, now()) end, now()
          from incoming i
          left join hubspot_bookings o on o.hubspot_id = i.hubspot_id
         cross join lateral jsonb_populate_record(o, i.fields) r
        on conflict (hubspot_id) do update set
            booking_key = excluded.booking_key, booking_id = excluded.booking_id,
            mock_exam_id = excluded.mock_exam_id, contact_id = excluded.contact_id,
            student_id = excluded.student_id, student_name = excluded.student_name,
            student_email = excluded.student_email, booking_status = excluded.booking_status,
            is_active = excluded.is_active, attendance = excluded.attendance,
            attending_location = excluded.attending_location, exam_date = excluded.exam_date,
            dominant_hand = excluded.dominant_hand, created_at = excluded.created_at,
            updated_at = excluded.updated_at, archived_at = excluded.archived_at, synced_at = excluded.synced_at
         where b.updated_at is null or excluded.updated_at >= b.updated_at
        returning b.*
    ), claimed as materialized (
        select c.claim_id, c.booking_id, c.exam_id, c.caller, c.request_id, c.state
          from claims c where c.booking_id in (select i.key from incoming i)
    ), successor as materialized (
        -- HubSpot: an archived record may share its key with the one that follows it; the one that holds counts.
        select distinct on (u.booking_key) u.* from upserted u
         where u.booking_key is not null order by u.booking_key, u.holds desc, u.updated_at desc nulls last
    ), closed as (
        -- The seat passes from the claim to the record. A claim that ended before keeps its state, and its record.
        -- (The cases, here and below, say no more than `and` would; they keep from the planner that all claims of such
        -- a state are in an index of their own, which it might read instead of looking up the one.)
        update claims c set hubspot_id = u.hubspot_id, updated_at = now(),
               state = case when c.state <> 'open' then c.state when u.holds then 'booked' else 'cancelled' end
          from successor u
         where c.booking_id = u.booking_key and case c.state when 'open' then true else c.hubspot_id is null end
        returning c.claim_id
    ), ended as (
        update claims c set state = 'cancelled', updated_at = now()
          from upserted u
         where c.hubspot_id = u.hubspot_id and case c.state when 'booked' then not u.holds else false end
    ), audited as (
        insert into audit_log (table_name, operation, record_id, performed_by, request_id, old_values, new_values)
        select 'hubspot_bookings', case when o.hubspot_id is null then 'INSERT' else 'UPDATE' end, u.hubspot_id,
               coalesce(i.actor, nullif(mirror_bookings.actor, ''), c.caller, 'hubspot'),
               coalesce(i.request_id, c.request_id), to_jsonb(o), to_jsonb(u)
          from upserted u
          join incoming i on i.hubspot_id = u.hubspot_id
          left join hubspot_bookings o on o.hubspot_id = u.hubspot_id
          left join claimed c on c.booking_id = u.booking_key
         where to_jsonb(o) - '{synced_at,updated_at}'::text[] is distinct from
               to_jsonb(u) - '{synced_at,updated_at}'::text[]
    ), change as (
        select x.exam_id, sum(x.seats)::integer as seats from (
            select o.mock_exam_id as exam_id, -1 as seats
              from hubspot_bookings o join upserted u using (hubspot_id) where o.holds
            union all
            select u.mock_exam_id, 1 from upserted u where u.holds
            union all
            select c.exam_id, -1 from claimed c join successor u on u.booking_key = c.booking_id where c.state = 'open'
        ) x group by x.exam_id having sum(x.seats) <> 0
    ), moved as (
        update hubspot_mock_exams e set seats_taken = e.seats_taken + c.seats, seats_version = e.seats_version + 1
          from change c where e.hubspot_id = c.exam_id
    )
    select coalesce(jsonb_agg(distinct x.contact_id), '[]') into contacts from (
        select u.contact_id from upserted u
        union select o.contact_id from hubspot_bookings o join upserted u using (hubspot_id)
    ) x where x.contact_id is not null;
    return jsonb_build_object('exam_ids', to_jsonb(exam_ids), 'contacts', contacts);
end
$$;

-- Students whose list of bookings shows something of these exams that changed within the last minute. Crash: a call
-- whose reply was lost is sent again and then changes nothing; the audit still knows.
create or replace function hubspot_sync.students_who_see(exam_ids text[]) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    with changed as (
        select distinct a.record_id as exam_id from audit_log a
         where a.record_id = any (exam_ids) and a.performed_at > now() - interval '1 minute'
           and a.table_name = 'hubspot_mock_exams' and a.operation in ('INSERT', 'UPDATE')
           and exists (select from unnest('{mock_exam_name,mock_type,location,exam_date,start_time,end_time}'::text[]) f
                        where a.old_values -> f is distinct from a.new_values -> f)
    )
    select coalesce(jsonb_agg(x.contact_id), '[]') from (
        select b.contact_id from hubspot_bookings b join changed c on c.exam_id = b.mock_exam_id
        union
        select k.contact_id from claims k join changed c using (exam_id) where k.hubspot_id is null
    ) x where x.contact_id is not null
$$;

create or replace function hubspot_sync.mirror_exams(facts jsonb, actor text) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    exam_ids text[];
    fresh text[];
begin
    select coalesce(array_agg(f.hubspot_id), '{}') into exam_ids from read_facts(facts) f;
    if exists (select from unnest(exam_ids) x (id)
                where not exists (select from hubspot_mock_exams e where e.hubspot_id = x.id)) then
        perform pg_advisory_xact_lock(7261);
    end if;
    perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;
    select coalesce(array_agg(x.id), '{}') into fresh from unnest(exam_ids) x (id)
     where not exists (select from hubspot_mock_exams e where e.hubspot_id = x.id);

    with incoming as materialized (
        select * from read_facts(facts)
    ), upserted as (
        insert into hubspot_mock_exams as e (
            hubspot_id, mock_exam_name, mock_type, exam_date, start_time, end_time, location, capacity,
            total_bookings, is_active, opens_at, starts_at, day_ends_at, exam_key, created_at, updated_at, archived_at,
            synced_at)
        select i.hubspot_id, r.mock_exam_name, r.mock_type, r.exam_date, r.start_time, r.end_time, r.location,
               r.capacity, coalesce(r.total_bookings, 0), r.is_active, r.opens_at, r.starts_at,
               r.day_ends_at, coalesce(i.key, o.exam_key),
               coalesce(i.created_at, o.created_at), coalesce(i.updated_at, o.updated_at),
               case when i.archived then coalesce(o.archived_at, now()) end, now()
          from incoming i
          left join hubspot_mock_exams o on o.hubspot_id = i.hubspot_id
         cross join lateral jsonb_populate_record(o, i.fields) r
        on conflict (hubspot_id) do update set
            mock_exam_name = excluded.mock_exam_name, mock_type = excluded.mock_type,
            exam_date = excluded.exam_date, start_time = excluded.start_time, end_time = excluded.end_time,
            location = excluded.location, capacity = excluded.capacity, total_bookings = excluded.total_bookings,
            is_active = excluded.is_active, opens_at = excluded.opens_at, starts_at = excluded.starts_at,
            day_ends_at = excluded.day_ends_at,
            exam_key = excluded.exam_key,
            created_at = excluded.created_at, updated_at = excluded.updated_at,
            archived_at = excluded.archived_at, synced_at = excluded.synced_at,
            -- Only what a gate shows makes it new; a total that HubSpot repeats to us does not.
            seats_version = e.seats_version + ((e.capacity, e.is_active, e.opens_at, closes_at(e),
                e.archived_at) is distinct from (excluded.capacity, excluded.is_active, excluded.opens_at,
                closes_at(excluded), excluded.archived_at))::integer
         where e.updated_at is null or excluded.updated_at >= e.updated_at
        returning e.*
    )
    insert into audit_log (table_name, operation, record_id, performed_at, performed_by, request_id, old_values,
                           new_values)
    select 'hubspot_mock_exams', case when o.hubspot_id is null then 'INSERT' else 'UPDATE' end, u.hubspot_id,
           clock_timestamp(), coalesce(i.actor, nullif(mirror_exams.actor, ''), 'hubspot'), i.request_id, to_jsonb(o), to_jsonb(u)
      from upserted u
      join incoming i on i.hubspot_id = u.hubspot_id
      left join hubspot_mock_exams o on o.hubspot_id = u.hubspot_id
     where to_jsonb(o) - '{synced_at,updated_at,seats_version,total_bookings}'::text[] is distinct from
           to_jsonb(u) - '{synced_at,updated_at,seats_version,total_bookings}'::text[];

    -- A new exam may have records already: they were mirrored before it was known.
    update hubspot_mock_exams e set seats_version = e.seats_version + 1, seats_taken =
           (select count(*) from hubspot_bookings b where b.mock_exam_id = e.hubspot_id and b.holds)
         + (select count(*) from claims c where c.exam_id = e.hubspot_id and c.state = 'open')
     where e.hubspot_id = any (fresh);
    return jsonb_build_object('exam_ids', to_jsonb(exam_ids), 'contacts', students_who_see(exam_ids));
end
$$;

create or replace function hubspot_sync.mirror_contacts(facts jsonb) returns void
    language sql set search_path = hubspot_sync, pg_temp as $$
    insert into hubspot_contacts as p (hubspot_id, student_id, email, firstname, lastname, created_at, updated_at,
                                       archived_at, synced_at)
    select i.hubspot_id, r.student_id, r.email, r.firstname, r.lastname, coalesce(i.created_at, o.created_at),
           coalesce(i.updated_at, o.updated_at), case when i.archived then coalesce(o.archived_at, now()) end, now()
      from read_facts(facts) i
      left join hubspot_contacts o on o.hubspot_id = i.hubspot_id
     cross join lateral jsonb_populate_record(o, i.fields) r
    on conflict (hubspot_id) do update set
        student_id = excluded.student_id, email = excluded.email, firstname = excluded.firstname,
        lastname = excluded.lastname, created_at = excluded.created_at, updated_at = excluded.updated_at,
        archived_at = excluded.archived_at, synced_at = excluded.synced_at
     where p.updated_at is null or excluded.updated_at >= p.updated_at
$$;

create or replace function lastseat_api.mirror(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    actor text := args ->> 'actor';
    exams jsonb;
    bookings jsonb;
    refused bigint[];
begin
    perform mirror_contacts(coalesce(args -> 'contacts', '[]'));
    exams := mirror_exams(coalesce(args -> 'exams', '[]'), actor);
    bookings := mirror_bookings(coalesce(args -> 'bookings', '[]'), actor);
    refused := refuse_archives(array(select jsonb_array_elements_text(bookings -> 'exam_ids')));
    perform bind_exams(array(select o.exam_id from outbox o where o.outbox_id = any (refused)));
    return jsonb_build_object(
        'gates', gates_of(array(select jsonb_array_elements_text((exams -> 'exam_ids') || (bookings -> 'exam_ids')))),
        'contacts', (select coalesce(jsonb_agg(distinct c), '[]')
                       from jsonb_array_elements((exams -> 'contacts') || (bookings -> 'contacts')) c),
        'exams_changed', exams -> 'exam_ids' <> '[]');
end
$$;

-- Purpose: what an operator starts by hand: cursors, pages of records with the cursor that follows them, findings.
-- Inputs: see each function; records are facts as in 30_mirror.
-- Results: every answer carries "now", the database's clock: whatever is read later is not older than that.
-- Invariant: a page and its cursor are kept together or not at all; nothing here writes to HubSpot or needs a term.

create or replace function lastseat_api.cursor(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('now', clock_timestamp(), 'value', (
        select c.value from cursors c where c.name = args ->> 'name'))
$$;

create or replace function lastseat_api.save_cursor(args jsonb) returns jsonb
    language sql security definer set search_path = hubspot_sync, pg_temp as $$
    insert into cursors (name, value) values (args ->> 'name', args -> 'value')
    on conflict (name) do update set value = excluded.value, updated_at = now();
    select jsonb_build_object('now', clock_timestamp());
$$;

-- Facts that say nothing newer than what the mirror took after they were read. Two readers may hold the same version
-- of a record, of which one saw it archived: the one that looked later is right.
create or replace function hubspot_sync.not_overtaken(facts jsonb, kind text, read_at timestamptz) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_agg(f), '[]') from jsonb_array_elements(facts) f
     where not exists (
         select from (
             select e.updated_at, e.synced_at from hubspot_mock_exams e
              where kind = 'exams' and e.hubspot_id = f ->> 'hubspot_id'
             union all
             select p.updated_at, p.synced_at from hubspot_contacts p
              where kind = 'contacts' and p.hubspot_id = f ->> 'hubspot_id'
             union all
             select b.updated_at, b.synced_at from hubspot_bookings b
              where kind = 'bookings' and b.hubspot_id = f ->> 'hubspot_id') known
          where known.synced_at > read_at
            and coalesce((f ->> 'updated_at')::timestamptz, '-infinity') <= known.updated_at)
$$;

-- The order of mirror_exams: room for new exams first, then the rows by id.
create or replace function hubspot_sync.lock_known_exams(facts jsonb) returns text[]
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    exam_ids text[];
begin
    select coalesce(array_agg(distinct f ->> 'hubspot_id'), '{}') into exam_ids from jsonb_array_elements(facts) f;
    if exists (select from unnest(exam_ids) x (id)
                where not exists (select from hubspot_mock_exams e where e.hubspot_id = x.id)) then
        perform pg_advisory_xact_lock(7261);
    end if;
    perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;
    return exam_ids;
end
$$;

-- One page of records of one kind: {"kind", "facts", "actor", "read_at", "cursor"?: {"name", "value"}}. The
-- cursor's "run" must be the one that is kept: of two runs at once the later goes on, the earlier hears "overtaken".
create or replace function lastseat_api.mirror_page(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    kind text := args ->> 'kind';
    facts jsonb := args -> 'facts';
    following jsonb := args -> 'cursor' -> 'value';
    exam_ids text[] := '{}';
    news jsonb;
    contacts jsonb;
begin
    if following is not null then
        perform 1 from cursors c
          where c.name = args -> 'cursor' ->> 'name' and c.value ->> 'run' = following ->> 'run' for update;
        if not found then
            return jsonb_build_object('overtaken', true, 'now', clock_timestamp());
        end if;
    end if;
    -- Race: the relay may mirror a record between our look at it and our write; the exams' locks keep it out.
    if kind = 'bookings' then
        exam_ids := lock_exams_of(facts);
    elsif kind = 'exams' then
        exam_ids := lock_known_exams(facts);
    end if;
    news := lastseat_api.mirror(jsonb_build_object(
        'actor', args ->> 'actor', kind, not_overtaken(facts, kind, (args ->> 'read_at')::timestamptz)));
    -- Crash: a call whose reply was lost is sent again and then changes nothing; its news must be the same.
    select coalesce(jsonb_agg(distinct x.contact_id), '[]') into contacts from (
        select jsonb_array_elements_text(news -> 'contacts') as contact_id
        union select b.contact_id from hubspot_bookings b
               where kind = 'bookings' and b.hubspot_id in (select f ->> 'hubspot_id' from jsonb_array_elements(facts) f)
    ) x where x.contact_id is not null;
    -- Crash: whoever ends before telling this news leaves the students' ids here, to be told at the next start.
    update cursors set updated_at = now(), value = following || jsonb_build_object('untold', contacts)
     where following is not null and name = args -> 'cursor' ->> 'name';
    return jsonb_build_object('now', clock_timestamp(), 'news', jsonb_build_object(
        'gates', gates_of(exam_ids), 'contacts', contacts, 'exams_changed', kind = 'exams' and facts <> '[]'));
end
$$;

-- The records that the mirror shows in an exam: {"exam_id"} → {"ids"}.
create or replace function lastseat_api.exam_records(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('now', clock_timestamp(), 'ids', coalesce(jsonb_agg(b.hubspot_id), '[]'))
      from hubspot_bookings b where b.mock_exam_id = args ->> 'exam_id' and b.archived_at is null
$$;

create or replace function hubspot_sync.found_first(found jsonb[], args jsonb) returns jsonb
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('count', cardinality(found),
                              'first', to_jsonb(found[1:(args ->> 'limit')::integer]))
$$;

create or replace function hubspot_sync.survey_held() returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'exams', (select jsonb_build_object('live', count(*) filter (where archived_at is null),
                                            'archived', count(*) filter (where archived_at is not null))
                    from hubspot_mock_exams),
        'contacts', (select jsonb_build_object('live', count(*) filter (where archived_at is null),
                                               'archived', count(*) filter (where archived_at is not null))
                       from hubspot_contacts),
        'bookings', (select jsonb_build_object('live', count(*) filter (where archived_at is null),
                                               'archived', count(*) filter (where archived_at is not null),
                                               'holding a seat', count(*) filter (where holds))
                       from hubspot_bookings))
$$;

-- What is in the mirror and what is odd about it: {"since", "limit"}; each finding counts all and shows the first.
create or replace function lastseat_api.survey(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'held', survey_held(),
        'oversold', found_first(array(
            select jsonb_build_object('exam_id', e.hubspot_id, 'name', e.mock_exam_name, 'exam_date', e.exam_date,
                                      'capacity', e.capacity, 'seats_taken', e.seats_taken)
              from hubspot_mock_exams e where e.seats_taken > e.capacity and e.archived_at is null
             order by e.exam_date desc nulls last, e.hubspot_id), args),
        'doubles', found_first(array(
            select jsonb_build_object('contact_id', b.contact_id, 'exam_id', b.mock_exam_id,
                                      'booking_ids', jsonb_agg(b.hubspot_id order by b.hubspot_id))
              from hubspot_bookings b where b.holds and b.contact_id is not null and b.mock_exam_id is not null
             group by b.contact_id, b.mock_exam_id having count(*) > 1
             order by b.mock_exam_id, b.contact_id), args),
        'duplicate_keys', found_first(array(
            select jsonb_build_object('key', b.booking_key, 'booking_ids', jsonb_agg(b.hubspot_id order by b.hubspot_id))
              from hubspot_bookings b where b.booking_key is not null and b.archived_at is null
             group by b.booking_key having count(*) > 1 order by b.booking_key), args),
        'unknown_contacts', found_first(array(
            select jsonb_build_object('booking_id', b.hubspot_id, 'contact_id', b.contact_id)
              from hubspot_bookings b where b.contact_id is not null and b.archived_at is null and not exists (
                   select from hubspot_contacts p where p.hubspot_id = b.contact_id)
             order by b.hubspot_id), args),
        'unknown_exams', found_first(array(
            select jsonb_build_object('booking_id', b.hubspot_id, 'exam_id', b.mock_exam_id)
              from hubspot_bookings b where b.mock_exam_id is not null and b.archived_at is null and not exists (
                   select from hubspot_mock_exams e where e.hubspot_id = b.mock_exam_id)
             order by b.hubspot_id), args),
        'unseen', found_first(array(
            select jsonb_build_object('kind', x.kind, 'id', x.hubspot_id) from (
                select 'exams' as kind, hubspot_id, synced_at, archived_at from hubspot_mock_exams
                union all select 'contacts', hubspot_id, synced_at, archived_at from hubspot_contacts
                union all select 'bookings', hubspot_id, synced_at, archived_at from hubspot_bookings) x
             where x.synced_at < (args ->> 'since')::timestamptz and x.archived_at is null
             order by x.kind, x.hubspot_id), args))
$$;

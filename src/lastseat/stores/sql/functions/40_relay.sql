-- Purpose: the outbox and its one reader: lease, backlog, marking sent, settling, announcing.
-- Inputs: {"term": n, …}; every call but the lease's own checks the term first.
-- Results: rows to send (OutboxRow), news to announce (Announcement) with the rows that it announces.
-- Invariant: a row is marked sent in a committed transaction before HubSpot hears of it; only the holder of the
-- current term writes; I3 a claim ends booked, cancelled or refused.

-- Crash: a relay that gave its term up may still find its own lease alive. It names the term that it renews; without
-- one it gets a new term, or the rows that it marked in the old one would be nobody's. A new term hears when the last
-- call was made: Redis may have lost the window in which HubSpot counts it.
create or replace function lastseat_api.take_lease(args jsonb) returns jsonb
    language sql security definer set search_path = hubspot_sync, pg_temp as $$
    with taken as (
        update relay_lease set
            term = case when holder = args ->> 'holder' and term = (args ->> 'term')::bigint
                         and expires_at > clock_timestamp() then term else term + 1 end,
            holder = args ->> 'holder',
            expires_at = clock_timestamp() + make_interval(secs => (args ->> 'lease_s')::float8)
         where holder = args ->> 'holder' or expires_at <= clock_timestamp()
            -- Crash: the database's clock went back after the holder ended; nobody leases for longer than he asks.
            or expires_at > clock_timestamp() + make_interval(secs => 10 * (args ->> 'lease_s')::float8)
        returning *
    )
    select jsonb_build_object('lease', (
        select jsonb_build_object(
               'holder', t.holder, 'term', t.term, 'remaining_s', (args ->> 'lease_s')::float8,
               'called_ago_s', case when t.term is distinct from (args ->> 'term')::bigint then (
                    select extract(epoch from clock_timestamp() - max(o.sent_at))
                      -- Limit: two calls of links and more; an older row is hardly the last to be sent.
                      from (select sent_at from outbox order by outbox_id desc limit 5000) o) end)
          from taken t))
$$;

create or replace function lastseat_api.release_lease(args jsonb) returns jsonb
    language sql security definer set search_path = hubspot_sync, pg_temp as $$
    update relay_lease set expires_at = '-infinity'
     where holder = args ->> 'holder' and term = (args ->> 'term')::bigint;
    select jsonb_build_object();
$$;

-- Rows of these kinds that this term may send now. A cancel waits until its own create has ended, and when it makes
-- room for another booking, until that one is recorded. Changes of one exam go one at a time, in order; an archive waits
-- for the seats. The relay asks at every turn: one query for all kinds. The scalar subqueries stay look-ups, where
-- `exists` may become a hash of all claims.
drop function if exists hubspot_sync.due(bigint, text);
create or replace function hubspot_sync.due(given bigint, kinds text[])
    returns table (outbox_id bigint, kind text)
    language plpgsql stable set search_path = hubspot_sync, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select o.outbox_id, o.kind from outbox o
     where o.kind = any (kinds)
       and ((o.state = 'sent' and o.sent_term < given)
            -- Most rows are past; only the others are worth a call for each row.
            or (o.state = 'waiting' and (o.not_before <= clock_timestamp() or is_due(o.not_before))))
       -- Race: two totals of one exam under way may arrive in the wrong order, and the older would stay.
       and (o.kind <> 'count' or not exists (
            select from outbox p where p.exam_id = o.exam_id and p.kind = 'count' and p.state = 'sent'
                                   and p.outbox_id <> o.outbox_id and p.sent_term >= given))
       and (o.kind <> 'cancel' or not exists (
            select from outbox p where p.booking_id = o.booking_id and p.kind = 'create'
                                   and p.state in ('waiting', 'sent')))
       and (o.after_booking is null
            or (select c.hubspot_id from claims c where c.booking_id = o.after_booking) is not null)
       and (o.kind not like 'exam%' or not exists (
            select from outbox p where p.exam_id = o.exam_id and p.kind like 'exam%'
                                   and p.state in ('waiting', 'sent') and p.outbox_id < o.outbox_id))
       and (o.kind <> 'exam_archive' or (
            not exists (select from outbox p where p.exam_id = o.exam_id and p.kind in ('create', 'cancel')
                                               and p.state in ('waiting', 'sent'))
            and coalesce((select e.seats_taken from hubspot_mock_exams e where e.hubspot_id = o.exam_id), 0) = 0));
end
$$;

-- An exam's columns as HubSpot takes them: strings, "" clears. When it opens and starts is kept by us alone.
create or replace function hubspot_sync.sent_of(fields jsonb) returns jsonb
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_object_agg(f.key, coalesce(f.value #>> '{}', '')), '{}') from jsonb_each(fields) f
     where f.key not in ('opens_at', 'starts_at', 'day_ends_at')
$$;

-- Rows that not everybody may have heard of; two questions, since each has an index.
create or replace function hubspot_sync.not_announced() returns table (outbox_id bigint, done_at timestamptz)
    language plpgsql stable set search_path = hubspot_sync, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select o.outbox_id, o.done_at from outbox o where o.state = 'mirrored'
    union
    select o.outbox_id, o.done_at from outbox o where not o.told;
end
$$;

create or replace function lastseat_api.backlog(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    given bigint := (args ->> 'term')::bigint;
begin
    perform check_term(given);
    return jsonb_build_object(
        'due', (select coalesce(jsonb_object_agg(k.kind, k.rows), '{}') from (
                    select d.kind, count(*) as rows
                      from due(given, array['create', 'cancel', 'exam_create', 'exam_update', 'exam_archive',
                                            'exam_restore', 'link_contact', 'link_exam', 'count']) d
                     group by d.kind) k),
        -- Limit: what ended within the last second is being told by those who ended it.
        'unannounced', (select count(*) from not_announced() o
                         where o.done_at < clock_timestamp() - interval '1 second'),
        'verify_due', (select count(*) from outbox where verify_at is not null and is_due(verify_at)),
        'next_due_s', (select extract(epoch from min(x.due_at) - clock_timestamp()) from (
                           select min(not_before) as due_at from outbox
                            where state = 'waiting' and not_before > clock_timestamp()
                           union all select min(verify_at) from outbox where verify_at > clock_timestamp()) x));
end
$$;

create or replace function lastseat_api.send(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    given bigint := (args ->> 'term')::bigint;
    sent jsonb;
begin
    perform check_term(given);
    with chosen as materialized (
        select o.outbox_id, o.state = 'sent' or o.uncertain as taken_over
          from (select * from due(given, array[args ->> 'kind']) d
                 order by d.outbox_id limit (args ->> 'limit')::integer) d
          join outbox o on o.outbox_id = d.outbox_id
           -- Race: a fold may drop the row while we wait for it; the state is checked again under its lock.
         where o.state in ('waiting', 'sent')
         order by o.outbox_id for update of o
    ), marked as (
        update outbox o set state = 'sent', sent_term = given, attempts = o.attempts + 1,
                            sent_at = clock_timestamp()
          from chosen c where o.outbox_id = c.outbox_id
        returning o.*, c.taken_over
    )
    select coalesce(jsonb_agg(jsonb_build_object(
               'outbox_id', m.outbox_id, 'kind', m.kind, 'attempts', m.attempts, 'taken_over', m.taken_over,
               'key', coalesce(m.booking_id, m.hubspot_id, m.exam_key, m.exam_id), 'claim_id', m.claim_id,
               'booking_id', m.booking_id, 'hubspot_id', coalesce(m.hubspot_id, c.hubspot_id),
               'exam_id', m.exam_id, 'contact_id', m.contact_id,
               'properties', case m.kind
                   when 'create' then c.properties || jsonb_build_object(
                       'booking_id', c.booking_id, 'booking_status', 'confirmed', 'is_active', 'Active')
                   when 'cancel' then '{"booking_status": "cancelled", "is_active": "Cancelled"}'
                   when 'count' then jsonb_build_object('total_bookings', e.seats_taken::text)
                   else sent_of(m.fields) end) order by m.outbox_id), '[]')
      into sent
      from marked m
      left join claims c on c.claim_id = m.claim_id
      left join hubspot_mock_exams e on e.hubspot_id = m.exam_id and m.kind = 'count';
    return jsonb_build_object('rows', sent);
end
$$;

-- News of claims and cancels, as the ledger sees them now.
create or replace function hubspot_sync.news_of(outbox_ids bigint[], exam_ids text[], contacts jsonb) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    with rows as (
        select o.outbox_id, o.kind, coalesce(o.booking_id, c.booking_id) as booking_id, o.claim_id,
               coalesce(o.contact_id, c.contact_id, b.contact_id) as contact_id,
               coalesce(o.exam_id, c.exam_id, b.mock_exam_id) as exam_id,
               case when o.kind = 'cancel' and not coalesce(b.holds, false) then 'cancelled'
                    when o.kind = 'cancel' then 'booked' else c.state end as state,
               coalesce(c.reason, o.last_error) as reason,
               coalesce(o.hubspot_id, c.hubspot_id) as hubspot_id
          from outbox o
          left join claims c on c.claim_id = o.claim_id
          left join hubspot_bookings b on b.hubspot_id = coalesce(o.hubspot_id, c.hubspot_id)
         where o.outbox_id = any (outbox_ids) and case when o.kind in ('create', 'cancel') then true end
    )
    select jsonb_build_object(
        'outcomes', (select coalesce(jsonb_agg(jsonb_build_object(
             'claim_id', r.claim_id, 'booking_id', r.booking_id, 'contact_id', r.contact_id, 'exam_id', r.exam_id,
             'state', r.state, 'reason', r.reason, 'outbox_id', r.outbox_id,
             'booking', case when r.hubspot_id is not null
                 then (select to_jsonb(s) - 'booking_key' from bookings_shown s where s.hubspot_id = r.hubspot_id limit 1)
                 else (select to_jsonb(s) - 'booking_key' from bookings_shown s
                        where s.booking_key = r.booking_id and s.contact_id = r.contact_id limit 1) end)
             order by r.outbox_id), '[]')
             from rows r where r.state is not null) || exam_outcomes(outbox_ids),
        'gates', gates_of(exam_ids || array(select r.exam_id from rows r where not r.exam_id = any (exam_ids))),
        'contacts', (select coalesce(jsonb_agg(distinct x.id), '[]') from (
             select jsonb_array_elements_text(contacts) as id
             union select r.contact_id from rows r
             union select contacts_of_changed(outbox_ids)) x where x.id is not null),
        'exams_changed', exists (select from outbox o where o.outbox_id = any (outbox_ids)
                                                      and case when o.kind like 'exam%' then true end))
$$;

-- HubSpot: a record that was merged into another answers as that one (2026). The survivors that cancels met.
create or replace function hubspot_sync.survivors(written jsonb) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_agg(w -> 'facts' || jsonb_build_object('actor', o.caller, 'request_id', o.request_id)), '[]')
      from jsonb_array_elements(written) w
      join outbox o on o.outbox_id = (w ->> 'outbox_id')::bigint and case o.state when 'sent' then o.kind = 'cancel' end
      left join claims c on c.claim_id = o.claim_id
     where w -> 'facts' ->> 'hubspot_id' <> coalesce(o.hubspot_id, c.hubspot_id)
$$;

-- Facts of rows that HubSpot wrote: what it said, over what we know we sent.
create or replace function hubspot_sync.facts_written(written jsonb, kinds text[]) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(jsonb_agg(coalesce(nullif(f.facts, 'null'), '{}') || jsonb_build_object(
               'hubspot_id', coalesce(f.facts ->> 'hubspot_id', o.hubspot_id, c.hubspot_id, o.exam_id),
               'key', coalesce(c.booking_id, o.exam_key, f.facts ->> 'key'),
               'actor', o.caller, 'request_id', o.request_id,
               'fields', sent.fields || said(f.facts -> 'fields', sent.fields))
               -- Race: somebody may have read the exam before the archive and bring it later; now is newer than that.
               || case when o.kind = 'exam_archive' then jsonb_build_object('archived', true, 'updated_at', now())
                       else '{}' end), '[]')
      from jsonb_array_elements(written) w
      join outbox o on o.outbox_id = (w ->> 'outbox_id')::bigint
                   and case o.state when 'sent' then o.kind = any (kinds) end
      left join claims c on c.claim_id = o.claim_id
     -- A merged record is gone, and so cancelled; what HubSpot said is about the survivor.
     cross join lateral (select case
           when o.kind = 'cancel' and w -> 'facts' ->> 'hubspot_id' <> coalesce(o.hubspot_id, c.hubspot_id) then
               jsonb_build_object('archived', true, 'updated_at', w -> 'facts' -> 'updated_at',
                                  'hubspot_id', coalesce(o.hubspot_id, c.hubspot_id))
           else w -> 'facts' end as facts) f
     cross join lateral (select case o.kind
           when 'create' then c.properties || '{"booking_status": "confirmed", "is_active": "Active"}'
                              || jsonb_build_object('booking_id', c.booking_id)
           -- Somebody may have moved the booking in HubSpot; the mirror knows its exam better than the claim.
           when 'cancel' then coalesce(c.properties, '{}') - '{mock_exam_id,contact_id}'::text[]
                              || '{"booking_status": "cancelled", "is_active": "Cancelled"}'
           else o.fields end as fields) sent
$$;

-- What came of rows that were sent in a term which is still held. A row that is named by its id is found by it: its
-- kind and state are asked for in a `case`, since bare they fit an index of all rows of a kind or in a state, and a plan
-- that was made of an empty table takes one index for as good as another.
create or replace function hubspot_sync.settle_rows(args jsonb) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    given bigint := (args ->> 'term')::bigint;
    written jsonb := coalesce(args -> 'written', '[]');
    aside jsonb := coalesce(args -> 'aside', '[]');
    verify_s float8 := (args ->> 'verify_after_s')::float8;
    ids bigint[];
    exam_ids text[];
    mirrored jsonb;
    counted jsonb;
    changed jsonb;
begin
    select coalesce(array_agg((x ->> 'outbox_id')::bigint), '{}') into ids
      from jsonb_array_elements(written || aside) x;
    -- The one order of locks: that of new exams, that of refusals, exams by id, then everything else.
    if exists (select from outbox o where o.outbox_id = any (ids)
                                      and case when o.kind in ('exam_create', 'exam_restore') then true end) then
        perform pg_advisory_xact_lock(7261);
    else
        perform pg_advisory_xact_lock_shared(7261);
    end if;
    -- Race: two bookings of one row of moves are refused at once, and each would think that the other one stays.
    if exists (select from outbox o, jsonb_array_elements(aside) r
                where o.outbox_id = (r ->> 'outbox_id')::bigint and case o.kind when 'create' then true end) then
        perform pg_advisory_xact_lock(7262);
    end if;
    perform 1 from hubspot_mock_exams e
      where e.hubspot_id in (
            select o.exam_id from outbox o where o.outbox_id = any (ids)
            -- Race: another settlement queues a newer total of the exam, and two may not wait; see below.
            union select o.exam_id from outbox o, jsonb_array_elements(coalesce(args -> 'retry', '[]')) r
                   where o.outbox_id = (r ->> 'outbox_id')::bigint and case o.kind when 'count' then true end)
      order by e.hubspot_id for update;

    mirrored := mirror_bookings(facts_written(written, '{create,cancel}') || survivors(written), null);
    counted := mirror_exams((select coalesce(jsonb_agg(f), '[]')
                               from jsonb_array_elements(facts_written(written, '{count}')) f
                              where f ? 'updated_at'), 'lastseat');
    changed := mirror_exams(facts_written(written, '{exam_create,exam_update,exam_archive,exam_restore}'), 'lastseat');
    perform settle_exams(written, args ->> 'timezone');
    exam_ids := array(select jsonb_array_elements_text((mirrored -> 'exam_ids') || (counted -> 'exam_ids')
                                                       || (changed -> 'exam_ids')));

    with ended as (
        update outbox o set
            state = case when o.kind in ('create', 'cancel') or o.kind like 'exam%' then 'mirrored' else 'done' end,
            done_at = now(), last_error = null,
            verify_at = case when (o.kind in ('create', 'cancel') or o.kind like 'exam%')
                              and (o.uncertain or coalesce((w ->> 'uncertain')::boolean, false))
                             then clock_timestamp() + make_interval(secs => verify_s) end
          from jsonb_array_elements(written) w
         where o.outbox_id = (w ->> 'outbox_id')::bigint and case o.state when 'sent' then o.sent_term = given end
        returning o.*
    ), linked as (
        insert into outbox (kind, claim_id, booking_id, hubspot_id, exam_id, contact_id, caller, request_id)
        select k.kind, d.claim_id, d.booking_id, c.hubspot_id, d.exam_id, d.contact_id, d.caller, d.request_id
          from ended d
          join claims c on c.claim_id = d.claim_id
         cross join (values ('link_contact'), ('link_exam')) k (kind)
         where d.kind = 'create'
           -- A look-up by both: `not exists` may become a join that reads all links for each booking.
           and (select l.outbox_id from outbox l where l.booking_id = d.booking_id and l.kind = k.kind limit 1) is null
         order by k.kind, d.outbox_id
    )
    insert into outbox (kind, exam_id)
    select distinct 'count', d.exam_id from ended d where d.kind in ('create', 'cancel') and d.exam_id is not null
    on conflict (exam_id) where kind = 'count' and state = 'waiting' do nothing;

    exam_ids := exam_ids || set_aside(aside, given, verify_s) || array(
        select o.exam_id from outbox o
         where o.outbox_id = any (ids) and case when o.kind in ('cancel', 'exam_update', 'exam_archive') then true end);
    ids := ids || refuse_archives(exam_ids);
    perform bind_exams(exam_ids);

    update outbox o set
        -- A newer total of the exam waits or is under way, and says more.
        state = case when n.newer then 'dropped' else 'waiting' end,
        done_at = case when n.newer then now() end,
        not_before = clock_timestamp() + make_interval(secs => (r ->> 'after_s')::float8),
        last_error = r ->> 'reason',
        uncertain = o.uncertain or coalesce((r ->> 'uncertain')::boolean, false)
      from jsonb_array_elements(coalesce(args -> 'retry', '[]')) r
      join outbox q on q.outbox_id = (r ->> 'outbox_id')::bigint
     cross join lateral (select q.kind = 'count' and exists (
           select from outbox p where p.exam_id = q.exam_id and p.kind = 'count' and p.outbox_id <> q.outbox_id
                                  and (p.state = 'waiting' or p.state = 'sent' and p.outbox_id > q.outbox_id)
           ) as newer) n
     where o.outbox_id = q.outbox_id and case o.state when 'sent' then o.sent_term = given end;

    return jsonb_build_object(
        'news', news_of(ids, exam_ids, mirrored -> 'contacts'),
        'outbox_ids', (select coalesce(jsonb_agg(o.outbox_id), '[]') from outbox o
                        where o.outbox_id = any (ids) and (o.state = 'mirrored' or not o.told)));
end
$$;

create or replace function lastseat_api.settle(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
begin
    perform check_term((args ->> 'term')::bigint);
    return settle_rows(args);
end
$$;

create or replace function lastseat_api.unannounced(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    ids bigint[];
begin
    perform check_term((args ->> 'term')::bigint);
    select coalesce(array_agg(x.outbox_id), '{}') into ids
      from (select o.outbox_id from not_announced() o order by o.outbox_id limit 500) x;
    return jsonb_build_object('news', news_of(ids, '{}', '[]'), 'outbox_ids', to_jsonb(ids));
end
$$;

create or replace function lastseat_api.announced(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
begin
    perform check_term((args ->> 'term')::bigint);
    update outbox set state = case state when 'mirrored' then 'announced' else state end, told = true
     where outbox_id = any (array(select jsonb_array_elements_text(args -> 'outbox_ids')::bigint));
    return '{}';
end
$$;

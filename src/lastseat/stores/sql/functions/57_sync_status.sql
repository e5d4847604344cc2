-- Purpose: how far the mirror is, what waits for HubSpot and who tells it, for staff's page about the sync.
-- Inputs: {}.
-- Results: {"at", "records": [kind], "backfill" or null, "outbox": [kind], "aside", "relay"}; no names of people or hosts.
-- Invariant: reads only. Three tables are counted whole: only that says how much there is and how old it is, and each
-- process asks at most every two seconds. The outbox, which grows with every booking, is found by its partial indexes.

create or replace function lastseat_api.sync_status(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    with rows_synced as (
        select 'exams' as kind, archived_at, synced_at from hubspot_mock_exams
        union all select 'contacts', archived_at, synced_at from hubspot_contacts
        union all select 'bookings', archived_at, synced_at from hubspot_bookings
    ), counted as (
        select k.kind, k.nth, count(r.kind) filter (where r.archived_at is null) as live,
               count(r.archived_at) as archived,
               min(r.synced_at) filter (where r.archived_at is null) as oldest_synced_at,
               max(r.synced_at) filter (where r.archived_at is null) as newest_synced_at
          from unnest('{exams,contacts,bookings}'::text[]) with ordinality k (kind, nth)
          left join rows_synced r on r.kind = k.kind
         group by k.kind, k.nth
    ), waiting as (
        select o.kind, count(*) filter (where o.state = 'waiting') as waiting,
               count(*) filter (where o.state = 'sent') as sent, min(o.created_at) as oldest_at,
               max(o.attempts) as attempts_most,
               (array_agg(o.last_error order by o.attempts desc, o.outbox_id)
                    filter (where o.last_error is not null))[1] as last_error
          from outbox o where o.state in ('waiting', 'sent') group by o.kind
    )
    select jsonb_build_object(
        'at', clock_timestamp(),
        'records', (select jsonb_agg(to_jsonb(c) - 'nth' order by c.nth) from counted c),
        -- Of the cursor only what says how far it is: it also holds ids of records and of students.
        'backfill', (select jsonb_build_object(
             'updated_at', c.updated_at, 'began_at', c.value -> 'since', 'done', coalesce(c.value -> 'done', 'false'),
             'passes_done', coalesce(c.value -> 'step', '0'), 'read', coalesce(c.value -> 'read', '{}'),
             'calls', coalesce(c.value -> 'calls', '0'), 'rejected', coalesce(c.value -> 'rejected_count', '0'))
             from cursors c where c.name = 'backfill'),
        'outbox', (select coalesce(jsonb_agg(to_jsonb(w) order by w.kind), '[]') from waiting w),
        'aside', (select count(*) from outbox where state = 'aside'),
        'relay', (select jsonb_build_object(
             'term', l.term, 'held', l.expires_at > clock_timestamp(), 'expires_at', nullif(l.expires_at, '-infinity'))
             from relay_lease l))
$$;

-- Purpose: look again at sends whose outcome was unknown once, and put right what is not as intended.
-- Inputs: {"term": n, "limit"} or {"term": n, "found": [{"outbox_id", "attempts", "facts" or null}]}.
-- Results: rows to look at (OutboxRow); news to announce (Announcement) with the rows that it announces.
-- Invariant: I5 HubSpot's state ends as intended, whatever arrived late.

-- One read of HubSpot brings rows of one sort: bookings of claims or new exams by their key, imported bookings or known
-- exams by HubSpot's id.
create or replace function hubspot_sync.look_of(o hubspot_sync.outbox) returns text
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select case when o.kind in ('exam_create', 'exam_restore') then 'exam by key'
                when o.kind like 'exam%' then 'exam by id'
                when o.claim_id is null then 'booking by id' else 'booking by key' end
$$;

-- Sends whose outcome was unknown once: a stuck call may have landed after we looked. Look again.
create or replace function lastseat_api.to_verify(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
begin
    perform check_term((args ->> 'term')::bigint);
    return jsonb_build_object('rows', (select coalesce(jsonb_agg(jsonb_build_object(
               'outbox_id', o.outbox_id, 'kind', o.kind, 'attempts', o.attempts,
               'key', case when o.kind like 'exam%' then coalesce(o.exam_key, o.exam_id)
                           else coalesce(c.booking_id, o.hubspot_id) end,
               'claim_id', o.claim_id, 'booking_id', c.booking_id,
               'hubspot_id', coalesce(o.hubspot_id, c.hubspot_id), 'exam_id', coalesce(c.exam_id, o.exam_id),
               'contact_id', c.contact_id) order by o.outbox_id), '[]')
          from (select * from outbox where verify_at is not null and is_due(verify_at) and look_of(outbox) = (
                       select look_of(outbox) from outbox where verify_at is not null and is_due(verify_at)
                        order by verify_at limit 1)
                 order by verify_at limit (args ->> 'limit')::integer) o
          left join claims c on c.claim_id = o.claim_id));
end
$$;

-- What was found of bookings, and what is to be done about it: `keep`, the mirror takes the fact; `cancel`, the record
-- should hold no seat: HubSpot is told again before the mirror hears of it, so that its seat is never counted twice.
-- An imported booking has no claim that says what it should be: its acknowledged cancel does, until the mirror has
-- heard from HubSpot that somebody there took it back.
create or replace function hubspot_sync.judge_found(found jsonb) returns table (
    facts jsonb, verdict text, claim_id uuid, booking_id text, hubspot_id text, exam_id text, contact_id text,
    caller text, request_id text
) language sql stable set search_path = hubspot_sync, pg_temp as $$
    select (f -> 'facts') || jsonb_build_object('fields', said(f -> 'facts' -> 'fields')),
           case when not holds_seat(f -> 'facts' -> 'fields' ->> 'booking_status',
                                    f -> 'facts' -> 'fields' ->> 'is_active')
                  or (f -> 'facts' ->> 'archived')::boolean then 'keep'
                when c.claim_id is not null then case when c.state in ('open', 'booked') then 'keep' else 'cancel' end
                when o.state not in ('mirrored', 'announced') or coalesce(b.holds, false) then 'keep'
                else 'cancel' end,
           o.claim_id, c.booking_id, f -> 'facts' ->> 'hubspot_id', coalesce(c.exam_id, o.exam_id),
           coalesce(c.contact_id, o.contact_id), coalesce(c.caller, o.caller), coalesce(c.request_id, o.request_id)
      from jsonb_array_elements(found) f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and o.kind not like 'exam%'
      left join claims c on c.claim_id = o.claim_id
      left join hubspot_bookings b on b.hubspot_id = f -> 'facts' ->> 'hubspot_id'
     where jsonb_typeof(f -> 'facts') = 'object' and (c.claim_id is not null or o.claim_id is null)
$$;

-- Compare what HubSpot holds with what the ledger intends.
create or replace function lastseat_api.verified(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    given bigint := (args ->> 'term')::bigint;
    found jsonb;
    mirrored jsonb;
    changed jsonb;
    exam_ids text[];
    ids bigint[];
begin
    perform check_term(given);
    -- Race: staff tries a refused booking again between the look and here. It would be booked, and then cancelled for
    -- what was seen before; so its exam is locked before it is judged, and a row that has gone on since is left alone.
    perform lock_exams_of((
        select coalesce(jsonb_agg(coalesce(nullif(f -> 'facts', 'null'), '{}') || jsonb_build_object(
                   'key', coalesce(c.booking_id, f -> 'facts' ->> 'key'))), '[]')
          from jsonb_array_elements(args -> 'found') f
          join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and o.kind not like 'exam%'
          left join claims c on c.claim_id = o.claim_id));
    select coalesce(jsonb_agg(f), '[]') into found
      from jsonb_array_elements(args -> 'found') f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and o.state not in ('waiting', 'sent')
                   and o.attempts = coalesce((f ->> 'attempts')::integer, o.attempts);
    mirrored := mirror_bookings((select coalesce(jsonb_agg(j.facts), '[]') from judge_found(found) j
                                  where j.verdict = 'keep'), null);
    insert into outbox (kind, claim_id, booking_id, hubspot_id, exam_id, contact_id, caller, request_id)
    select distinct on (j.hubspot_id) 'cancel', j.claim_id, j.booking_id, j.hubspot_id, j.exam_id, j.contact_id,
           j.caller, j.request_id
      from judge_found(found) j
     where j.verdict = 'cancel' and not exists (
           select from outbox q where (q.claim_id = j.claim_id or q.hubspot_id = j.hubspot_id) and q.kind = 'cancel'
                                  and q.state in ('waiting', 'sent'));
    changed := mirror_exams(put_right(found), 'hubspot');
    update outbox o set verify_at = null, uncertain = false, told = o.told and jsonb_typeof(f -> 'facts') <> 'object'
      from jsonb_array_elements(found) f
     where o.outbox_id = (f ->> 'outbox_id')::bigint and o.state not in ('waiting', 'sent');
    select coalesce(array_agg(o.outbox_id), '{}') into ids
      from jsonb_array_elements(found) f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and not o.told;
    exam_ids := array(select jsonb_array_elements_text((mirrored -> 'exam_ids') || (changed -> 'exam_ids')));
    return jsonb_build_object('news', news_of(ids, exam_ids, mirrored -> 'contacts') || jsonb_build_object(
        'exams_changed', changed -> 'exam_ids' <> '[]'), 'outbox_ids', to_jsonb(ids));
end
$$;

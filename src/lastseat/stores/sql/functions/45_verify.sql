-- Purpose: look again at sends whose outcome was unknown once, and put right what is not as intended.
-- Inputs: {"term": n, "limit"} or {"term": n, "found": [{"outbox_id", "facts" or null}]}.
-- Results: rows to look at (OutboxRow); news to announce (Announcement) with the rows that it announces.
-- Invariant: I5 HubSpot's state ends as intended, whatever arrived late.

-- One read of HubSpot brings rows of one sort: bookings or new exams by their key, known exams by HubSpot's id.
create or replace function hubspot_sync.look_of(kind text) returns text
    language sql immutable set search_path = hubspot_sync, pg_temp as $$
    select case when kind in ('exam_create', 'exam_restore') then 'exam by key'
                when kind like 'exam%' then 'exam by id' else 'booking' end
$$;

-- Sends whose outcome was unknown once: a stuck call may have landed after we looked. Look again, by key.
create or replace function lastseat_api.to_verify(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
begin
    perform check_term((args ->> 'term')::bigint);
    return jsonb_build_object('rows', (select coalesce(jsonb_agg(jsonb_build_object(
               'outbox_id', o.outbox_id, 'kind', o.kind, 'attempts', o.attempts,
               'key', coalesce(c.booking_id, o.exam_key, o.exam_id),
               'claim_id', o.claim_id, 'booking_id', c.booking_id,
               'hubspot_id', coalesce(o.hubspot_id, c.hubspot_id), 'exam_id', coalesce(c.exam_id, o.exam_id),
               'contact_id', c.contact_id) order by o.outbox_id), '[]')
          from (select * from outbox where verify_at is not null and is_due(verify_at) and look_of(kind) = (
                       select look_of(kind) from outbox where verify_at is not null and is_due(verify_at)
                        order by verify_at limit 1)
                 order by verify_at limit (args ->> 'limit')::integer) o
          left join claims c on c.claim_id = o.claim_id));
end
$$;

-- Compare what HubSpot holds with what the ledger intends; a record that should hold no seat is cancelled again,
-- before its fact is mirrored, so that its seat is never counted twice.
create or replace function lastseat_api.verified(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    given bigint := (args ->> 'term')::bigint;
    mirrored jsonb;
    changed jsonb;
    exam_ids text[];
    ids bigint[];
begin
    perform check_term(given);
    mirrored := mirror_bookings((
        select coalesce(jsonb_agg(f -> 'facts'), '[]') from jsonb_array_elements(args -> 'found') f
          join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint
          join claims c on c.claim_id = o.claim_id
         where jsonb_typeof(f -> 'facts') = 'object'
           and (c.state in ('open', 'booked')
                or not holds_seat(f -> 'facts' -> 'fields' ->> 'booking_status',
                                  f -> 'facts' -> 'fields' ->> 'is_active'))), null);
    insert into outbox (kind, claim_id, booking_id, hubspot_id, exam_id, contact_id, caller, request_id)
    select distinct on (c.claim_id) 'cancel', c.claim_id, c.booking_id, f -> 'facts' ->> 'hubspot_id', c.exam_id,
           c.contact_id, c.caller, c.request_id
      from jsonb_array_elements(args -> 'found') f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint
      join claims c on c.claim_id = o.claim_id
     where jsonb_typeof(f -> 'facts') = 'object' and c.state in ('cancelled', 'refused')
       and holds_seat(f -> 'facts' -> 'fields' ->> 'booking_status', f -> 'facts' -> 'fields' ->> 'is_active')
       and not exists (select from outbox q where q.claim_id = c.claim_id and q.kind = 'cancel'
                                              and q.state in ('waiting', 'sent'));
    changed := mirror_exams(put_right(args -> 'found'), 'hubspot');
    update outbox o set verify_at = null, uncertain = false, told = o.told and jsonb_typeof(f -> 'facts') <> 'object'
      from jsonb_array_elements(args -> 'found') f where o.outbox_id = (f ->> 'outbox_id')::bigint;
    select coalesce(array_agg(o.outbox_id), '{}') into ids
      from jsonb_array_elements(args -> 'found') f
      join outbox o on o.outbox_id = (f ->> 'outbox_id')::bigint and not o.told;
    exam_ids := array(select jsonb_array_elements_text((mirrored -> 'exam_ids') || (changed -> 'exam_ids')));
    return jsonb_build_object('news', news_of(ids, exam_ids, mirrored -> 'contacts') || jsonb_build_object(
        'exams_changed', changed -> 'exam_ids' <> '[]'), 'outbox_ids', to_jsonb(ids));
end
$$;

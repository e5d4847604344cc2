-- Purpose: what HubSpot refused for itself, for staff to see and to try again.
-- Inputs: {"offset", "limit"}; {"outbox_id", "caller", "request_id"}.
-- Results: {"total", "rows"}; {"outcome", "detail", "row", "news"}.
-- Invariant: I1, I4: a booking whose seat was given back passes the same checks again as a new one.

create or replace function hubspot_sync.aside_json(o hubspot_sync.outbox) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'outbox_id', o.outbox_id, 'kind', o.kind, 'state', o.state, 'reason', o.last_error, 'attempts', o.attempts,
        'booking_id', o.booking_id, 'hubspot_id', o.hubspot_id, 'exam_id', o.exam_id, 'contact_id', o.contact_id,
        'student_name', (select c.properties ->> 'student_name' from claims c where c.claim_id = o.claim_id),
        'asked_by', o.caller, 'created_at', o.created_at, 'set_aside_at', o.done_at)
$$;

create or replace function lastseat_api.set_aside(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'total', (select count(*) from outbox where state = 'aside'),
        'rows', (select coalesce(jsonb_agg(aside_json(o) order by o.outbox_id desc), '[]')
                   from (select * from outbox where state = 'aside' order by outbox_id desc
                         offset (args ->> 'offset')::integer limit (args ->> 'limit')::integer) o))
$$;

-- Why a refused booking cannot have its seat again; null when it can. The exam is locked.
create or replace function hubspot_sync.refuse_again(claim hubspot_sync.claims) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select case when j.verdict <> 'free' then jsonb_build_object('outcome', j.verdict, 'detail', j.detail)
                when j.remaining <= 0 then '{"outcome": "full"}' end
      from judge(jsonb_build_array(jsonb_build_object(
               'claim_id', gen_random_uuid(), 'booking_id', claim.booking_id, 'exam_id', claim.exam_id,
               'contact_id', claim.contact_id, 'caller', claim.caller, 'request_id', claim.request_id))) j
$$;

create or replace function hubspot_sync.book_again(item hubspot_sync.outbox, args jsonb) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    claim claims;
    refusal jsonb;
begin
    select * into claim from claims c where c.claim_id = item.claim_id;
    -- HubSpot: a lost send of the refused row landed after all, and was cancelled there; its record is at its end.
    if claim.state <> 'refused' or claim.hubspot_id is not null or exists (
           select from outbox o where o.after_booking = claim.booking_id
               or o.claim_id = claim.claim_id and o.kind = 'cancel' and o.state in ('waiting', 'sent')) then
        return '{"outcome": "not_retryable"}';
    end if;
    refusal := refuse_again(claim);
    if refusal is not null then
        return refusal;
    end if;
    update claims c set state = 'open', reason = null, updated_at = now() where c.claim_id = claim.claim_id;
    update hubspot_mock_exams e set seats_taken = e.seats_taken + 1, seats_version = e.seats_version + 1
     where e.hubspot_id = claim.exam_id;
    insert into audit_log (table_name, operation, record_id, performed_at, performed_by, request_id, old_values,
                           new_values)
    values ('claims', 'RETRY', claim.booking_id, clock_timestamp(), args ->> 'caller', args ->> 'request_id',
            jsonb_build_object('state', claim.state, 'reason', claim.reason), '{"state": "open"}');
    return null;
end
$$;

create or replace function hubspot_sync.cancel_again(item hubspot_sync.outbox, args jsonb) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
begin
    if not exists (select from hubspot_bookings b join claims c on c.claim_id = item.claim_id
                    where b.hubspot_id = coalesce(item.hubspot_id, c.hubspot_id) and b.holds)
       and not exists (select from hubspot_bookings b where b.hubspot_id = item.hubspot_id and b.holds)
       or open_cancel(item.claim_id, item.hubspot_id) is not null then
        return '{"outcome": "not_needed"}';
    end if;
    update claims c set cancel_requested_at = now(), updated_at = now() where c.claim_id = item.claim_id;
    insert into audit_log (table_name, operation, record_id, performed_by, request_id, old_values, new_values)
    values ('hubspot_bookings', 'CANCEL_REQUEST', coalesce(item.booking_id, item.hubspot_id), args ->> 'caller',
            args ->> 'request_id', '{"cancel_requested": false}', '{"cancel_requested": true}');
    return null;
end
$$;

create or replace function lastseat_api.retry_aside(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    item outbox;
    refusal jsonb;
begin
    select * into item from outbox o where o.outbox_id = (args ->> 'outbox_id')::bigint;
    -- Race: a claim of the last seat, or the same click twice; the exam's lock orders them, then the row is read again.
    perform 1 from hubspot_mock_exams e where e.hubspot_id = item.exam_id for update;
    select * into item from outbox o where o.outbox_id = (args ->> 'outbox_id')::bigint for update;
    if item.outbox_id is null or item.state <> 'aside' and item.last_error is null and item.attempts = 0 then
        return '{"outcome": "not_found"}';
    elsif item.state <> 'aside' then
        return jsonb_build_object('outcome', 'not_aside', 'row', aside_json(item));
    end if;
    refusal := case
        when item.kind = 'create' then book_again(item, args)
        when item.kind = 'cancel' then cancel_again(item, args)
        when item.kind = 'count' and exists (select from outbox p where p.kind = 'count' and p.exam_id = item.exam_id
                                               and p.state = 'waiting') then '{"outcome": "not_needed"}'::jsonb
        when item.kind like 'exam%' then '{"outcome": "not_retryable"}'::jsonb end;
    if refusal ->> 'outcome' = 'not_needed' then
        update outbox o set state = 'dropped', told = true where o.outbox_id = item.outbox_id returning * into item;
    elsif refusal is null then
        update outbox o set state = 'waiting', not_before = now(), done_at = null, told = true, verify_at = null,
                            uncertain = o.uncertain or o.verify_at is not null
         where o.outbox_id = item.outbox_id returning * into item;
    end if;
    return jsonb_build_object('row', aside_json(item), 'news', jsonb_build_object(
               'gates', gates_of(array[item.exam_id]), 'contacts', to_jsonb(array_remove(array[item.contact_id], null)),
               'outcomes', news_of(array[item.outbox_id], '{}', '[]') -> 'outcomes', 'exams_changed', false))
           || coalesce(refusal, '{"outcome": "queued"}');
end
$$;

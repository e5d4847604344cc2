-- Purpose: what HubSpot refuses for itself: its seat goes back, and what was to follow it finds another end.
-- Inputs: rows of a settlement, [{"outbox_id", "reason", "uncertain"?}], sent in the term given.
-- Results: the exams whose seats changed.
-- Invariant: I3, I4 a student is left with the last seat of a row of moves that HubSpot took, and no other.

-- A booking that was moved on before HubSpot refused it: the next in the row of moves that is not refused, or null.
create or replace function hubspot_sync.moved_on_to(booking text) returns text
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    with recursive moves (booking_id, state) as (
        values (booking, 'refused')
        union
        select n.booking_id, n.state
          from moves m
          join claims c on c.booking_id = m.booking_id
          join outbox o on o.claim_id = c.claim_id and o.kind = 'cancel' and o.state = 'waiting'
          join claims n on n.booking_id = o.after_booking
         where m.state = 'refused'
    )
    select m.booking_id from moves m where m.state <> 'refused'
$$;

-- Its cancel has nothing left to do. What was to make room for it now does so for the booking that it was moved on to;
-- without one it stays where it is.
create or replace function hubspot_sync.drop_refused(refused uuid[]) returns void
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
begin
    if refused = '{}' then
        return;
    end if;
    update outbox o set after_booking = moved_on_to(c.booking_id)
      from claims c
     where c.claim_id = any (refused) and o.after_booking = c.booking_id
       and o.kind = 'cancel' and o.state = 'waiting' and moved_on_to(c.booking_id) is not null;
    with dropped as (
        update outbox o set state = 'dropped', done_at = now() from claims c
         where c.claim_id = any (refused) and (o.claim_id = c.claim_id or o.after_booking = c.booking_id)
           and o.kind = 'cancel' and o.state = 'waiting'
        returning o.claim_id
    )
    update claims c set cancel_requested_at = null, updated_at = now() from dropped d
     where c.claim_id = d.claim_id and c.state in ('open', 'booked');
end
$$;

-- A refusal by HubSpot of this row alone: the seat goes back.
create or replace function hubspot_sync.set_aside(rows jsonb, given bigint, verify_s float8) returns text[]
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    exam_ids text[];
    refused uuid[];
begin
    -- Crash: an earlier send of a refused row may still land, and its seat is given back here: look again later.
    update outbox o set state = 'aside', last_error = r ->> 'reason', done_at = now(),
           told = o.kind like 'link%' or o.kind = 'count',
           verify_at = case when (o.kind in ('create', 'cancel') or o.kind like 'exam%')
                             and (o.uncertain or coalesce((r ->> 'uncertain')::boolean, false))
                            then clock_timestamp() + make_interval(secs => verify_s) end
      from jsonb_array_elements(rows) r
     where o.outbox_id = (r ->> 'outbox_id')::bigint and case o.state when 'sent' then o.sent_term = given end;
    with fallen as (
        update claims c set state = 'refused', reason = o.last_error, updated_at = now()
          from outbox o, jsonb_array_elements(rows) r
         where o.outbox_id = (r ->> 'outbox_id')::bigint and case o.state when 'aside' then o.kind = 'create' end
           and c.claim_id = o.claim_id and case c.state when 'open' then true end
        returning c.*
    ), audited as (
        insert into audit_log (table_name, operation, record_id, performed_by, request_id, old_values, new_values)
        select 'claims', 'REFUSED', f.booking_id, 'hubspot', f.request_id, '{"state": "open"}',
               jsonb_build_object('state', f.state, 'reason', f.reason)
          from fallen f
    ), freed as (
        update hubspot_mock_exams e set seats_taken = e.seats_taken - f.seats, seats_version = e.seats_version + 1
          from (select exam_id, count(*)::integer as seats from fallen group by exam_id) f
         where e.hubspot_id = f.exam_id
    )
    select coalesce(array_agg(distinct f.exam_id), '{}'), coalesce(array_agg(f.claim_id), '{}')
      into exam_ids, refused from fallen f;
    perform drop_refused(refused);
    -- A neighbour's total may have counted the seats that are free again.
    perform queue_totals(exam_ids);
    -- A cancel that HubSpot refuses is no longer asked for.
    update claims c set cancel_requested_at = null, updated_at = now()
      from outbox o, jsonb_array_elements(rows) r
     where o.outbox_id = (r ->> 'outbox_id')::bigint and case o.state when 'aside' then o.kind = 'cancel' end
       and c.claim_id = o.claim_id;
    insert into audit_log (table_name, operation, record_id, performed_by, request_id, new_values)
    select 'hubspot_mock_exams', 'REFUSED', coalesce(o.exam_id, o.exam_key), 'hubspot', o.request_id,
           jsonb_build_object('kind', o.kind, 'fields', o.fields, 'reason', o.last_error)
      from outbox o, jsonb_array_elements(rows) r
     where o.outbox_id = (r ->> 'outbox_id')::bigint and case o.state when 'aside' then o.kind like 'exam%' end;
    return exam_ids;
end
$$;

-- Purpose: take cancel wishes: fold what HubSpot never saw, queue the rest behind the booking's own create.
-- Inputs: {"cancels": [CancelRequest]}; `owner` set = only that student's bookings exist for the caller.
-- Results: {"answers": [{outcome, booking, claim_id, outbox_id}], "gates": [Gate], "contacts": [id]}, in order.
-- Invariant: I4 a cancel frees one seat once; a seat of a sent booking is free only when HubSpot has said so.

-- The booking that a reference names: our booking id first, then HubSpot's record id.
create or replace function hubspot_sync.find_booking(reference text) returns table (
    claim_id uuid, hubspot_id text, exam_id text, contact_id text
) language sql stable set search_path = hubspot_sync, pg_temp as $$
    select c.claim_id, coalesce(b.hubspot_id, c.hubspot_id), coalesce(b.mock_exam_id, c.exam_id),
           coalesce(c.contact_id, b.contact_id)
      from (select * from claims where claims.booking_id = reference or claims.hubspot_id = reference limit 1) c
      full join (select * from hubspot_bookings h
                  where h.hubspot_id = reference or h.booking_key = reference
                  order by h.hubspot_id = reference desc, h.holds desc limit 1) b on true
$$;

-- The cancel of this booking that is not done yet. Two look-ups, each by both columns of its index.
create or replace function hubspot_sync.open_cancel(found_claim uuid, found_record text) returns bigint
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select coalesce(
        (select o.outbox_id from outbox o
          where o.booking_id = (select c.booking_id from claims c where c.claim_id = found_claim)
            and o.kind = 'cancel' and case when o.state in ('waiting', 'sent') then true end limit 1),
        (select o.outbox_id from outbox o
          where o.hubspot_id = found_record
            and o.kind = 'cancel' and case when o.state in ('waiting', 'sent') then true end limit 1))
$$;

create or replace function hubspot_sync.queue_cancel(
    found_claim uuid, found_record text, found_exam text, found_contact text, wish jsonb
) returns bigint language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    queued bigint := open_cancel(found_claim, found_record);
begin
    -- Asked for on its own now, it no longer waits for the booking that it was to make room for. Race: HubSpot refuses
    -- that booking, and settle drops this row while we wait for it; the state is checked again under its lock.
    update outbox set after_booking = null where outbox_id = queued and state in ('waiting', 'sent')
    returning outbox_id into queued;
    if queued is not null then
        return queued;
    end if;
    update claims set cancel_requested_at = now(), updated_at = now() where claims.claim_id = found_claim;
    insert into audit_log (table_name, operation, record_id, performed_by, request_id, old_values, new_values)
    values ('hubspot_bookings', 'CANCEL_REQUEST', wish ->> 'reference', wish ->> 'caller', wish ->> 'request_id',
            '{"cancel_requested": false}',
            jsonb_build_object('cancel_requested', true, 'exam_id', found_exam, 'contact_id', found_contact));
    insert into outbox (kind, claim_id, booking_id, hubspot_id, exam_id, contact_id, caller, request_id)
    values ('cancel', found_claim, (select c.booking_id from claims c where c.claim_id = found_claim), found_record,
            found_exam, found_contact, wish ->> 'caller', wish ->> 'request_id')
    returning outbox_id into queued;
    return queued;
end
$$;

-- Create and cancel of a claim that was never sent cancel each other out: nothing goes to HubSpot.
create or replace function hubspot_sync.fold(found_claim uuid, wish jsonb) returns boolean
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
begin
    -- Race: the relay marks rows `sent` under the row's own lock. Whoever is second here sees the other's mark.
    update outbox set state = 'dropped', done_at = now()
     where claim_id = found_claim and kind = 'create' and state = 'waiting' and sent_at is null
       -- A booking that another one makes room for goes to HubSpot first, or the student would be left with neither.
       and not exists (select from outbox m where m.after_booking = outbox.booking_id and m.state = 'waiting');
    if not found then
        return false;
    end if;
    update claims set state = 'cancelled', cancel_requested_at = now(), updated_at = now()
     where claims.claim_id = found_claim and state = 'open';
    update hubspot_mock_exams e set seats_taken = e.seats_taken - 1, seats_version = e.seats_version + 1
      from claims c where c.claim_id = found_claim and e.hubspot_id = c.exam_id;
    -- A neighbour's total may have counted this seat.
    perform queue_totals(array(select c.exam_id from claims c where c.claim_id = found_claim));
    update outbox set state = 'dropped', done_at = now()
     where claim_id = found_claim and kind = 'cancel' and state = 'waiting';
    insert into audit_log (table_name, operation, record_id, performed_by, request_id, old_values, new_values)
    values ('claims', 'CANCEL', wish ->> 'reference', wish ->> 'caller', wish ->> 'request_id', '{"state": "open"}',
            '{"state": "cancelled"}');
    return true;
end
$$;

create or replace function hubspot_sync.cancel_one(wish jsonb) returns jsonb
    language plpgsql set search_path = hubspot_sync, pg_temp as $$
declare
    found_claim uuid;
    found_record text;
    found_exam text;
    found_contact text;
    claim claims;
    record hubspot_bookings;
    outcome text;
    queued bigint;
begin
    select f.claim_id, f.hubspot_id, f.exam_id, f.contact_id
      into found_claim, found_record, found_exam, found_contact from find_booking(wish ->> 'reference') f;
    if (found_claim is null and found_record is null)
       or (wish ->> 'owner' is not null and found_contact is distinct from wish ->> 'owner') then
        return jsonb_build_object('outcome', 'not_found');
    end if;
    select * into claim from claims c where c.claim_id = found_claim;
    select * into record from hubspot_bookings b where b.hubspot_id = found_record;
    if record.hubspot_id is not null then
        outcome := case when not record.holds then 'already_cancelled'
                        when lower(record.is_active) = 'completed' then 'closed'
                        else 'pending' end;
    else
        outcome := case when claim.state <> 'open' then 'already_cancelled' else 'pending' end;
    end if;
    if outcome = 'pending' and wish ->> 'owner' is not null
       and exists (select from hubspot_mock_exams e where e.hubspot_id = found_exam and closes_at(e) <= now()) then
        outcome := 'closed';
    end if;
    if outcome = 'pending' and record.hubspot_id is null and fold(found_claim, wish) then
        outcome := 'cancelled';
    elsif outcome = 'pending' then
        queued := queue_cancel(found_claim, found_record, found_exam, found_contact, wish);
    end if;
    return jsonb_build_object('outcome', outcome, 'claim_id', found_claim, 'outbox_id', queued, 'exam_id', found_exam,
                              'contact_id', found_contact);
end
$$;

create or replace function lastseat_api.cancel(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    exam_ids text[];
    answers jsonb;
begin
    select coalesce(array_agg(distinct f.exam_id), '{}') into exam_ids
      from jsonb_array_elements(args -> 'cancels') w, find_booking(w ->> 'reference') f;
    -- Race: cancelling twice at once would free two seats; the exam's lock orders them, the second finds it done.
    perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;
    select jsonb_agg(cancel_one(w.c) order by w.n) into answers
      from jsonb_array_elements(args -> 'cancels') with ordinality as w (c, n);
    return jsonb_build_object(
        'answers', (select coalesce(jsonb_agg(a.o || jsonb_build_object('booking', case
                        when a.o ->> 'outcome' <> 'not_found' then lastseat_api.booking(
                            jsonb_build_object('reference', w.c ->> 'reference')) -> 'booking' end) order by a.n), '[]')
                      from jsonb_array_elements(coalesce(answers, '[]')) with ordinality as a (o, n)
                      join jsonb_array_elements(args -> 'cancels') with ordinality as w (c, n) using (n)),
        'gates', gates_of(exam_ids),
        -- Crash: a cancel whose answer was lost is asked for again; only then everybody hears of it.
        'contacts', (select coalesce(jsonb_agg(distinct a ->> 'contact_id'), '[]')
                       from jsonb_array_elements(coalesce(answers, '[]')) a
                      where a ->> 'outcome' in ('cancelled', 'pending', 'already_cancelled')
                        and a ->> 'contact_id' is not null));
end
$$;

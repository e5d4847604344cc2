-- Purpose: move a booking to another session: claim the new seat, and queue the old one's cancel behind it.
-- Inputs: {"claim_id", "booking_id", "reference", "exam_id", "caller", "request_id", "key", "fingerprint"}.
-- Results: {"outcome", "claim"?, "detail"?, "outbox_id"?, "gates", "contacts"}; outcomes of claim, and a few of its own.
-- Invariant: the old seat is given back only after HubSpot has recorded the new one; both, or neither.

-- What the student said when booking, to be said again for the new session.
create or replace function hubspot_sync.said_at_booking(found_claim uuid, found_record text) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'dominant_hand', coalesce(b.dominant_hand, c.properties ->> 'dominant_hand'),
        'attending_location', coalesce(b.attending_location, c.properties ->> 'attending_location'),
        'student_id', coalesce(b.student_id, c.properties ->> 'student_id'),
        'student_name', coalesce(b.student_name, c.properties ->> 'student_name'),
        'student_email', coalesce(b.student_email, c.properties ->> 'student_email')))
      from (values (1)) x
      left join claims c on c.claim_id = found_claim
      left join hubspot_bookings b on b.hubspot_id = found_record
$$;

-- The move that this id or key stands for already; null when it is a new one.
create or replace function hubspot_sync.known_move(args jsonb) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'outcome', case when c.fingerprint = coalesce(args ->> 'fingerprint', '') then 'replay' else 'key_reused' end,
        'claim', case when c.fingerprint = coalesce(args ->> 'fingerprint', '')
                      then (select k.claim from claims_json(array[c.claim_id]) k) end,
        'outbox_id', (select o.outbox_id from outbox o where o.after_booking = c.booking_id limit 1),
        -- Crash: a move whose answer was lost is asked for again; only then everybody hears of it.
        'contacts', jsonb_build_array(c.contact_id))
      from claims c
     where c.claim_id = (args ->> 'claim_id')::uuid
        or (c.caller = args ->> 'caller' and c.idempotency_key = args ->> 'key')
     order by c.claim_id = (args ->> 'claim_id')::uuid desc limit 1
$$;

create or replace function lastseat_api.move_booking(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    found_claim uuid;
    found_record text;
    found_exam text;
    found_contact text;
    held boolean;
    completed boolean;
    answer jsonb;
    queued bigint;
begin
    select f.exam_id into found_exam from find_booking(args ->> 'reference') f;
    -- Race: a cancel, another move or a claim of the last seat; they all wait for these two, in this order.
    perform 1 from hubspot_mock_exams where hubspot_id in (found_exam, args ->> 'exam_id')
      order by hubspot_id for update;
    answer := known_move(args);
    if answer is not null then
        return answer || jsonb_build_object('gates', gates_of(array[found_exam, args ->> 'exam_id']));
    end if;
    select f.claim_id, f.hubspot_id, f.exam_id, f.contact_id
      into found_claim, found_record, found_exam, found_contact from find_booking(args ->> 'reference') f;
    if found_claim is null and found_record is null then
        return '{"outcome": "not_found"}';
    end if;
    if found_contact is null then
        return '{"outcome": "no_contact"}';
    end if;
    if found_exam = args ->> 'exam_id' then
        return '{"outcome": "same_exam"}';
    end if;
    select coalesce(b.holds, c.state = 'open'), coalesce(lower(b.is_active) = 'completed', false)
      into held, completed
      from (values (1)) x
      left join claims c on c.claim_id = found_claim
      left join hubspot_bookings b on b.hubspot_id = found_record;
    if not coalesce(held, false) or completed or open_cancel(found_claim, found_record) is not null then
        return jsonb_build_object('outcome', 'not_active', 'detail', case when completed then 'completed' end);
    end if;

    answer := lastseat_api.claim(jsonb_build_object('claims', jsonb_build_array(
        args - 'reference' || jsonb_build_object(
            'contact_id', found_contact, 'properties', said_at_booking(found_claim, found_record)))));
    if answer -> 'answers' -> 0 ->> 'outcome' = 'won' then
        queued := queue_cancel(found_claim, found_record, found_exam, found_contact, args);
        update outbox set after_booking = args ->> 'booking_id' where outbox_id = queued;
        insert into audit_log (table_name, operation, record_id, performed_by, request_id, old_values, new_values)
        values ('hubspot_bookings', 'MOVE', args ->> 'reference', args ->> 'caller', args ->> 'request_id',
                jsonb_build_object('exam_id', found_exam),
                jsonb_build_object('exam_id', args ->> 'exam_id', 'booking_id', args ->> 'booking_id'));
    end if;
    return (answer -> 'answers' -> 0) || jsonb_build_object(
        'outbox_id', queued, 'contacts', jsonb_build_array(found_contact), 'gates', answer -> 'gates');
end
$$;

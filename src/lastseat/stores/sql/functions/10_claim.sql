-- Purpose: give seats: all claims that arrived together, in one transaction.
-- Inputs: {"claims": [ClaimRequest]}; ids are minted by the caller, so a resend finds its stored result.
-- Results: {"answers": [{n, outcome, claim?, detail?}], "gates": [Gate]}, one answer per claim, in order.
-- Invariant: I1 no seat beyond capacity, I2 seats_taken moves with the claims, I4 one seat per student and exam.

-- Which verdict each wish deserves, before seats are counted. Reads only; shared by claim and lookup.
create or replace function hubspot_sync.judge(wishes jsonb) returns table (
    n bigint, claim_id uuid, booking_id text, exam_id text, contact_id text, caller text, request_id text, key text,
    fingerprint text, properties jsonb, verdict text, known uuid, detail text, remaining integer
) language sql stable set search_path = hubspot_sync, pg_temp as $$
    with asked as materialized (
        select w.n, (w.c ->> 'claim_id')::uuid as claim_id, w.c ->> 'booking_id' as booking_id,
               w.c ->> 'exam_id' as exam_id, w.c ->> 'contact_id' as contact_id, w.c ->> 'caller' as caller,
               w.c ->> 'request_id' as request_id, w.c ->> 'key' as key,
               coalesce(w.c ->> 'fingerprint', '') as fingerprint, coalesce(w.c -> 'properties', '{}') as properties,
               nullif(w.c -> 'needs', 'null') as needs
          from jsonb_array_elements(wishes) with ordinality as w (c, n)
    ), exams as materialized (
        -- Once for each exam: in a rush a thousand wishes name the same one.
        select e.hubspot_id, e.archived_at, lower(e.mock_type) as mock_type, closed_because(e) as closed,
               seats_of(e) - e.seats_taken as remaining
          from hubspot_mock_exams e where e.hubspot_id = any (array(select distinct a.exam_id from asked a))
    )
    select a.n, a.claim_id, a.booking_id, a.exam_id, a.contact_id, a.caller, a.request_id, a.key, a.fingerprint,
           a.properties,
           case
               when by_id.claim_id is not null then 'won'
               when by_key.claim_id is not null and by_key.fingerprint = a.fingerprint then 'replay'
               when by_key.claim_id is not null then 'key_reused'
               when e.hubspot_id is null or e.archived_at is not null then 'unknown_exam'
               when held.claim_id is not null or seat.hubspot_id is not null then 'already_booked'
               when e.closed is not null then 'closed'
               when lacking.field is not null then 'lacks'
               else 'free'
           end,
           coalesce(by_id.claim_id, by_key.claim_id, held.claim_id),
           case when held.claim_id is null and seat.hubspot_id is not null then seat.hubspot_id
                else coalesce(e.closed, lacking.field) end,
           e.remaining
      from asked a
      left join lateral (select c.claim_id from claims c where c.claim_id = a.claim_id limit 1) by_id on true
      left join lateral (select c.claim_id, c.fingerprint from claims c
                          where c.caller = a.caller and c.idempotency_key = a.key limit 1) by_key on true
      left join exams e on e.hubspot_id = a.exam_id
      left join lateral (select c.claim_id from claims c
                          where c.contact_id = a.contact_id and c.exam_id = a.exam_id
                            and c.state in ('open', 'booked') limit 1) held on true
      left join lateral (select b.hubspot_id from hubspot_bookings b
                          where b.contact_id = a.contact_id and b.mock_exam_id = a.exam_id and b.holds
                          limit 1) seat on true
      -- Race: the type is judged under the exam's lock, so a change of it cannot let a booking without its field through.
      left join lateral (select f.field
                           from jsonb_array_elements_text(a.needs -> e.mock_type) with ordinality f (field, place)
                          where a.needs is not null and a.properties ->> f.field is null
                          order by f.place limit 1) lacking on true
$$;

create or replace function hubspot_sync.answers_json(answers jsonb) returns jsonb
    language sql stable set search_path = hubspot_sync, pg_temp as $$
    with said as materialized (
        select a.n, a.outcome, a.exam_id, a.detail,
               case when a.outcome in ('won', 'replay', 'already_booked') then a.claim_id end as shown
          from jsonb_to_recordset(answers) as a (n bigint, outcome text, claim_id uuid, exam_id text, detail text)
    )
    select coalesce(jsonb_agg(jsonb_build_object('outcome', a.outcome, 'detail', a.detail, 'exam_id', a.exam_id,
                                                 'claim', c.claim) order by a.n), '[]')
      from said a
      left join claims_json(array(select w.shown from said w where w.shown is not null)) c on c.claim_id = a.shown
$$;

create or replace function lastseat_api.claim(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    answers jsonb;
    exam_ids text[];
begin
    select coalesce(array_agg(distinct c ->> 'exam_id'), '{}') into exam_ids
      from jsonb_array_elements(args -> 'claims') c;
    -- Race: two claims for the last seat, or two of one student. The lock is a statement of its own and the checks
    -- come after it: in one statement they would use the snapshot from before the wait, and both would win.
    perform 1 from hubspot_mock_exams where hubspot_id = any (exam_ids) order by hubspot_id for update;

    with judged as materialized (
        select * from judge(args -> 'claims')
    ), first_of_key as materialized (
        select j.*, row_number() over (partition by j.caller, coalesce(j.key, j.claim_id::text) order by j.n) = 1
                    and row_number() over (partition by j.claim_id order by j.n) = 1 as leads_key
          from judged j where j.verdict = 'free'
    ), ranked as materialized (
        select f.*, row_number() over (partition by f.contact_id, f.exam_id order by f.n) = 1 as leads
          from first_of_key f where f.leads_key
    ), candidates as materialized (
        select r.*, row_number() over (partition by r.exam_id order by r.n) as place from ranked r where r.leads
    ), inserted as (
        insert into claims (claim_id, booking_id, exam_id, contact_id, caller, request_id, idempotency_key,
                            fingerprint, properties, created_at)
        select c.claim_id, c.booking_id, c.exam_id, c.contact_id, c.caller, c.request_id, c.key, c.fingerprint,
               jsonb_strip_nulls(c.properties || jsonb_build_object(
                   'mock_exam_id', c.exam_id, 'contact_id', c.contact_id,
                   'exam_date', e.exam_date,
                   'student_id', coalesce(p.student_id, c.properties ->> 'student_id'),
                   'student_name', coalesce(nullif(concat_ws(' ', p.firstname, p.lastname), ''),
                                            c.properties ->> 'student_name'),
                   'student_email', coalesce(p.email, c.properties ->> 'student_email'))),
               -- Under the lock: against the audit's instants it tells which seats there were when this one was given.
               clock_timestamp()
          from candidates c
          join hubspot_mock_exams e on e.hubspot_id = c.exam_id
          left join hubspot_contacts p on p.hubspot_id = c.contact_id
         where c.place <= c.remaining
         order by c.n
        on conflict do nothing
        returning *
    ), queued as (
        insert into outbox (kind, claim_id, booking_id, exam_id, contact_id, caller, request_id)
        select 'create', i.claim_id, i.booking_id, i.exam_id, i.contact_id, i.caller, i.request_id from inserted i
    ), audited as (
        insert into audit_log (table_name, operation, record_id, performed_by, request_id, new_values)
        select 'claims', 'INSERT', i.booking_id, i.caller, i.request_id,
               jsonb_build_object('exam_id', i.exam_id, 'contact_id', i.contact_id, 'state', i.state)
          from inserted i
    ), moved as (
        update hubspot_mock_exams e set seats_taken = e.seats_taken + t.won, seats_version = e.seats_version + 1
          from (select exam_id, count(*)::integer as won from inserted group by exam_id) t
         where e.hubspot_id = t.exam_id
    ), judged_again as (
        select j.n, j.exam_id, j.detail, j.verdict, j.key, j.fingerprint, j.known,
               own.claim_id as own, pair.claim_id as pair, same_key.claim_id as same_key,
               same_key.fingerprint as same_fingerprint,
               (select count(*) from inserted t where t.exam_id = j.exam_id) < j.remaining as seat_left
          from judged j
          left join inserted own on own.claim_id = j.claim_id
          left join inserted same_key on same_key.caller = j.caller and same_key.idempotency_key = j.key
          left join inserted pair on pair.contact_id = j.contact_id and pair.exam_id = j.exam_id
    )
    select jsonb_agg(jsonb_build_object(
               'n', g.n, 'exam_id', g.exam_id,
               'claim_id', coalesce(g.known, g.own, g.same_key, g.pair),
               'detail', g.detail,
               'outcome', case
                   when g.verdict <> 'free' then g.verdict
                   when g.own is not null then 'won'
                   when g.same_key is not null and g.same_fingerprint = g.fingerprint then 'replay'
                   when g.same_key is not null then 'key_reused'
                   when g.pair is not null then 'already_booked'
                   -- Race: another exam's transaction took this key, or a neighbour's, meanwhile. Asked again, it is known.
                   when g.seat_left then 'conflict'
                   else 'full' end))
      into answers from judged_again g;

    return jsonb_build_object('answers', answers_json(coalesce(answers, '[]')), 'gates', gates_of(exam_ids));
end
$$;

-- The same question without giving a seat: what a 'full' from the gate is checked against before 409 is said.
create or replace function lastseat_api.lookup(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'answers', answers_json(coalesce(jsonb_agg(jsonb_build_object(
            'n', j.n, 'exam_id', j.exam_id, 'claim_id', j.known, 'detail', j.detail,
            'outcome', case when j.verdict = 'free' and j.remaining <= 0 then 'full' else j.verdict end)), '[]')),
        'gates', gates_of(coalesce(array_agg(distinct j.exam_id), '{}')))
      from judge(args -> 'claims') j
$$;

create or replace function lastseat_api.outcomes(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('claims', coalesce(jsonb_agg(c.claim order by a.n), '[]'))
      from jsonb_array_elements_text(args -> 'claim_ids') with ordinality as a (id, n)
      left join claims_json(array(select jsonb_array_elements_text(args -> 'claim_ids')::uuid)) c
                on c.claim_id = a.id::uuid
$$;

create or replace function lastseat_api.gates(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('gates', coalesce(jsonb_agg(g.gate), '[]')) from (
        select gate_of(e) as gate from hubspot_mock_exams e
         where e.hubspot_id = any (array(select jsonb_array_elements_text(args -> 'exam_ids')
                                          where jsonb_typeof(args -> 'exam_ids') = 'array'))
        union all
        select gate_of(e) from hubspot_mock_exams e
         where jsonb_typeof(args -> 'exam_ids') is distinct from 'array'
           and e.archived_at is null and e.exam_date >= current_date - 1) g
$$;

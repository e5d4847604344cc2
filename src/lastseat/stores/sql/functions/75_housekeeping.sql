-- Purpose: forget what nobody asks for any more, and count seats anew when somebody changed the tables by hand.
-- Inputs: {"term", "key_ttl_s", "keep_s", "most"}: the relay calls it now and then; {"exam_ids"}: an operator does.
-- Results: {"keys", "rows"}: how many were forgotten; {"corrected": [{"exam_id", "was", "is"}]}.
-- Invariant: what is open, set aside, still to be told or to be looked at again is kept. I2 holds after a recount.

create or replace function lastseat_api.housekeep(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    most integer := (args ->> 'most')::integer;
    old_keys integer;
    old_rows integer;
begin
    perform check_term((args ->> 'term')::bigint);
    update claims c set idempotency_key = null
     where c.claim_id in (select k.claim_id from claims k
                           where k.idempotency_key is not null and k.state <> 'open'
                             and k.created_at < now() - make_interval(secs => (args ->> 'key_ttl_s')::float8)
                           order by k.created_at limit most);
    get diagnostics old_keys = row_count;
    -- A change of an exam stays: a second click on restore must find the first one, however late it comes.
    delete from outbox o
     where o.outbox_id in (select x.outbox_id from outbox x
                            where x.state in ('announced', 'done', 'dropped') and x.verify_at is null and x.told
                              and x.kind not like 'exam%'
                              and x.done_at < now() - make_interval(secs => (args ->> 'keep_s')::float8)
                            order by x.done_at limit most);
    get diagnostics old_rows = row_count;
    return jsonb_build_object('keys', old_keys, 'rows', old_rows);
end
$$;

-- For the operator alone: nothing of ours moves seats without their rows, so nothing of ours calls this.
create or replace function lastseat_api.recount(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
declare
    corrected jsonb;
begin
    perform pg_advisory_xact_lock_shared(7261);
    -- Race: seats move under this lock; a count that began before it would be old when it is written.
    perform 1 from hubspot_mock_exams e
      where e.hubspot_id in (select jsonb_array_elements_text(args -> 'exam_ids')) order by e.hubspot_id for update;
    with counted as (
        select e.hubspot_id, e.seats_taken as was,
               (select count(*) from hubspot_bookings b where b.mock_exam_id = e.hubspot_id and b.holds)
             + (select count(*) from claims c where c.exam_id = e.hubspot_id and c.state = 'open') as "is"
          from hubspot_mock_exams e where e.hubspot_id in (select jsonb_array_elements_text(args -> 'exam_ids'))
    ), moved as (
        update hubspot_mock_exams e set seats_taken = c."is", seats_version = e.seats_version + 1
          from counted c where e.hubspot_id = c.hubspot_id and c.was <> c."is"
        returning e.hubspot_id, c.was, c."is"
    ), told as (
        -- HubSpot may have been told the wrong number.
        insert into outbox (kind, exam_id) select 'count', m.hubspot_id from moved m
        on conflict (exam_id) where kind = 'count' and state = 'waiting' do nothing
    ), audited as (
        insert into audit_log (table_name, operation, record_id, performed_by, old_values, new_values)
        select 'hubspot_mock_exams', 'RECOUNT', m.hubspot_id, 'operator', jsonb_build_object('seats_taken', m.was),
               jsonb_build_object('seats_taken', m."is") from moved m
    )
    select coalesce(jsonb_agg(jsonb_build_object('exam_id', m.hubspot_id, 'was', m.was, 'is', m."is")), '[]')
      into corrected from moved m;
    return jsonb_build_object('corrected', corrected);
end
$$;

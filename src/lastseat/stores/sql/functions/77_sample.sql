-- Purpose: what a running server judges itself by: a few exams with all that hangs on them, and how much waits.
-- Inputs: {"exam_ids": [id]} or {"most": n}: then n exams are chosen at random.
-- Results: {"tables": {name: [row]}, "waiting": {kind: n}, "oldest_s", "aside", "untold", "to_verify", "exposed"}.
-- Invariant: reads only, and one snapshot: rows that are compared belong together.

create or replace function lastseat_api.some_exams(args jsonb) returns jsonb
    language sql volatile security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object('exam_ids', (select coalesce(jsonb_agg(e.hubspot_id), '[]') from (
        select hubspot_id from hubspot_mock_exams where archived_at is null and exam_date >= current_date - 1
         order by random() limit (args ->> 'most')::integer) e))
$$;

create or replace function lastseat_api.sample(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    with ids as materialized (
        select jsonb_array_elements_text(args -> 'exam_ids') as exam_id
    ), held as materialized (
        select c.* from claims c where c.exam_id in (select exam_id from ids)
    ), records as materialized (
        select b.* from hubspot_bookings b where b.mock_exam_id in (select exam_id from ids) and b.holds
        union
        select b.* from hubspot_bookings b where b.hubspot_id in (select h.hubspot_id from held h)
    ), open_rows as materialized (
        select o.* from outbox o where o.state in ('waiting', 'sent')
    )
    select jsonb_build_object(
        'tables', jsonb_build_object(
            'hubspot_mock_exams', (select coalesce(jsonb_agg(jsonb_build_object(
                 'hubspot_id', e.hubspot_id, 'capacity', e.capacity, 'seats_taken', e.seats_taken,
                 'seats_version', e.seats_version, 'capacity_bound', e.capacity_bound)), '[]')
                 from hubspot_mock_exams e where e.hubspot_id in (select exam_id from ids)),
            'hubspot_bookings', (select coalesce(jsonb_agg(jsonb_build_object(
                 'hubspot_id', r.hubspot_id, 'mock_exam_id', r.mock_exam_id, 'booking_key', r.booking_key,
                 'holds', r.holds, 'synced_at', r.synced_at)), '[]') from records r),
            'claims', (select coalesce(jsonb_agg(jsonb_build_object(
                 'booking_id', h.booking_id, 'exam_id', h.exam_id, 'contact_id', h.contact_id, 'caller', h.caller,
                 'idempotency_key', h.idempotency_key, 'state', h.state, 'reason', h.reason,
                 'hubspot_id', h.hubspot_id, 'created_at', h.created_at)), '[]') from held h),
            'outbox', (select coalesce(jsonb_agg(jsonb_build_object(
                 'kind', o.kind, 'state', o.state, 'booking_id', o.booking_id, 'hubspot_id', o.hubspot_id,
                 'verify_at', o.verify_at)), '[]')
                 from outbox o join held h on h.booking_id = o.booking_id
                where h.state = 'open' or o.state in ('waiting', 'sent', 'mirrored') or o.verify_at is not null),
            'audit_log', (select coalesce(jsonb_agg(jsonb_build_object(
                 'record_id', a.record_id, 'performed_at', a.performed_at, 'operation', a.operation,
                 'request_id', a.request_id, 'old_values', a.old_values, 'new_values', a.new_values)), '[]')
                 from audit_log a where a.record_id in (select exam_id from ids)
                                    and a.table_name = 'hubspot_mock_exams')),
        'waiting', (select coalesce(jsonb_object_agg(k.kind, k.rows), '{}') from (
                        select o.kind, count(*) as rows from open_rows o group by o.kind) k),
        'oldest_s', (select coalesce(extract(epoch from clock_timestamp() - min(o.created_at)), 0) from open_rows o),
        'aside', (select count(*) from outbox where state = 'aside'),
        'untold', (select count(*) from outbox where state = 'mirrored' or not told),
        'to_verify', (select count(*) from outbox where verify_at is not null),
        'exposed', array(select exposed()))
$$;

-- Purpose: forget what nobody asks for any more: old idempotency keys, and rows of the outbox that have ended.
-- Inputs: {"term", "key_ttl_s", "keep_s", "most"}; the relay calls it from time to time.
-- Results: {"keys", "rows"}: how many were forgotten.
-- Invariant: what is open, set aside, still to be told or to be looked at again is kept.

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

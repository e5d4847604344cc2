-- Purpose: what a connection does before it is needed: a rush's questions, asked of nothing.
-- Inputs: {}.
-- Results: {}; nothing is read that anybody asked for, and nothing changes.
-- Invariant: a connection plans each statement when it first meets it, which costs ten times the work itself.

create or replace function lastseat_api.warm(args jsonb) returns jsonb
    language plpgsql security definer set search_path = hubspot_sync, pg_temp as $$
begin
    perform lastseat_api.claim('{"claims": []}');
    perform lastseat_api.lookup('{"claims": []}');
    perform lastseat_api.outcomes('{"claim_ids": []}');
    perform settle_rows('{"term": 0, "verify_after_s": 0}');
    perform 1 from due(0, '{create}');
    perform 1 from not_announced();
    return '{}';
end
$$;

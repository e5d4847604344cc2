-- Purpose: close what 0001 left open: a function without a search path, two tables without a policy, sequences.
-- Inputs: the tables of 0001.
-- Results: every table denies anon and authenticated by policy; nothing new in our schemas is granted by default.
-- Invariant: what was granted to others outside our schemas stays as it is.

alter function hubspot_sync.holds_seat(text, text) set search_path = pg_catalog, pg_temp;

create policy "Deny direct access to schema_migrations" on hubspot_sync.schema_migrations
    for all to anon, authenticated using (false) with check (false);
create policy "Deny direct access to schema_functions" on hubspot_sync.schema_functions
    for all to anon, authenticated using (false) with check (false);

alter default privileges in schema hubspot_sync
    revoke all on sequences from public, anon, authenticated, service_role;
alter default privileges in schema lastseat_api revoke all on tables from public, anon, authenticated, service_role;
alter default privileges in schema lastseat_api revoke all on sequences from public, anon, authenticated, service_role;
alter default privileges in schema lastseat_api revoke all on functions from public, anon, authenticated, service_role;

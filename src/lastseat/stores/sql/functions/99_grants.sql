-- Purpose: who may call: the service role only, by name.
-- Inputs: the functions defined before.
-- Results: EXECUTE for service_role on lastseat_api, for nobody on hubspot_sync.
-- Invariant: anon and authenticated reach nothing, also when a default was loosened since.

revoke all on all functions in schema lastseat_api from public, anon, authenticated;
revoke all on all functions in schema hubspot_sync from public, anon, authenticated, service_role;
revoke all on all tables in schema hubspot_sync from public, anon, authenticated, service_role;
grant usage on schema lastseat_api to service_role;
grant execute on all functions in schema lastseat_api to service_role;

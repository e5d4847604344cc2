-- Purpose: who may call: the service role only, by name.
-- Inputs: the functions defined before.
-- Results: EXECUTE for service_role on lastseat_api, for nobody on hubspot_sync.
-- Invariant: anon and authenticated reach nothing, also when a default or a grant was loosened since.

-- Guides for exposing a schema grant it to anon and authenticated; whoever followed one is undone here.
revoke all on schema hubspot_sync from public, anon, authenticated, service_role;
revoke all on schema lastseat_api from public, anon, authenticated, service_role;
revoke all on all functions in schema lastseat_api from public, anon, authenticated, service_role;
revoke all on all functions in schema hubspot_sync from public, anon, authenticated, service_role;
revoke all on all tables in schema lastseat_api from public, anon, authenticated, service_role;
revoke all on all tables in schema hubspot_sync from public, anon, authenticated, service_role;
revoke all on all sequences in schema hubspot_sync from public, anon, authenticated, service_role;
-- The view reads with the rights of who asks; our functions ask as the owner, nobody else can.
alter view hubspot_sync.bookings_shown set (security_invoker = true);
grant usage on schema lastseat_api to service_role;
grant execute on all functions in schema lastseat_api to service_role;

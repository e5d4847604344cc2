-- Purpose: take turns with other runs and have the two tables that remember what was applied.
-- Inputs: none.
-- Results: hubspot_sync.schema_migrations and hubspot_sync.schema_functions exist, closed to everybody but their owner.
-- Invariant: touches no catalog row when both tables are there; the turn ends with the transaction, so poolers are fine.

-- Race: two servers that start together would both find migration 1 missing; the second waits here for the first.
select pg_advisory_xact_lock(hashtext('lastseat schema'));

do $$
begin
    if to_regclass('hubspot_sync.schema_migrations') is not null then
        return;
    end if;
    create schema if not exists hubspot_sync;
    create table hubspot_sync.schema_migrations (
        version integer primary key,
        name text not null,
        sha256 text not null,
        applied_at timestamptz not null default now()
    );
    create table hubspot_sync.schema_functions (
        name text primary key,
        sha256 text not null,
        applied_at timestamptz not null default now()
    );
    alter table hubspot_sync.schema_migrations enable row level security;
    alter table hubspot_sync.schema_functions enable row level security;
    revoke all on hubspot_sync.schema_migrations, hubspot_sync.schema_functions from public;
end
$$;

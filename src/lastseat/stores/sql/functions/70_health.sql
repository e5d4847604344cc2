-- Purpose: let the database say what was applied to it, and what of it is open to whom.
-- Inputs: {} .
-- Results: {"server", "migrations", "functions", "routines", "unprotected_tables", "exposed"}.
-- Invariant: reads only the catalog and what was applied; says no row of anybody.

-- The PRD's query for unprotected tables, which counts a table without a policy, widened: also one whose row level
-- security is off, also our own schemas, also views that read with their owner's rights and materialised views.
create or replace function hubspot_sync.unprotected_tables() returns setof text
    language sql stable set search_path = pg_catalog, pg_temp as $$
    select format('%I.%I', n.nspname, c.relname)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('public', 'hubspot_sync', 'lastseat_api')
       and case c.relkind
               when 'v' then n.nspname <> 'public' and not coalesce(c.reloptions @> '{security_invoker=true}', false)
               else c.relkind in ('m', 'f') or c.relkind in ('r', 'p')
                    and not (c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid))
           end
     order by 1
$$;

-- What a role of the public can reach of ours, and what service_role can reach beyond the functions.
create or replace function hubspot_sync.exposed() returns setof text
    language sql stable set search_path = pg_catalog, pg_temp as $$
    with roles as (
        select oid, rolname from pg_roles where rolname in ('anon', 'authenticated', 'service_role')
    ), ours as (
        select oid, nspname from pg_namespace where nspname in ('hubspot_sync', 'lastseat_api')
    )
    select format('schema %s (to %s)', o.nspname, r.rolname) from ours o, roles r
     where has_schema_privilege(r.oid, o.oid, 'usage, create')
       and not (r.rolname = 'service_role' and o.nspname = 'lastseat_api'
                and not has_schema_privilege(r.oid, o.oid, 'create'))
    union all
    select format('table %I.%I (to %s)', o.nspname, c.relname, r.rolname)
      from pg_class c join ours o on o.oid = c.relnamespace, roles r
     where c.relkind in ('r', 'p', 'v', 'm', 'f')
       and (has_table_privilege(r.oid, c.oid, 'select, insert, update, delete, truncate, references, trigger')
            or has_any_column_privilege(r.oid, c.oid, 'select, insert, update, references'))
    union all
    select format('sequence %I.%I (to %s)', o.nspname, c.relname, r.rolname)
      from pg_class c join ours o on o.oid = c.relnamespace, roles r
     where c.relkind = 'S' and has_sequence_privilege(r.oid, c.oid, 'usage, select, update')
    union all
    select format('function %s (to %s)', p.oid::regprocedure, r.rolname)
      from pg_proc p join ours o on o.oid = p.pronamespace, roles r
     where has_function_privilege(r.oid, p.oid, 'execute')
       and not (r.rolname = 'service_role' and o.nspname = 'lastseat_api')
     order by 1
$$;

create or replace function lastseat_api.health(args jsonb) returns jsonb
    language sql stable security definer set search_path = hubspot_sync, pg_temp as $$
    select jsonb_build_object(
        'server', current_setting('server_version'),
        'migrations', (select coalesce(jsonb_agg(jsonb_build_object('version', m.version, 'name', m.name,
                                                                    'sha256', m.sha256) order by m.version), '[]')
                         from schema_migrations m),
        'functions', (select coalesce(jsonb_agg(jsonb_build_object('name', f.name, 'sha256', f.sha256)
                                                order by f.name), '[]') from schema_functions f),
        'routines', (select coalesce(jsonb_agg(p.oid::regprocedure::text), '[]')
                       from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'lastseat_api'),
        'unprotected_tables', array(select unprotected_tables()),
        'exposed', array(select exposed()))
$$;

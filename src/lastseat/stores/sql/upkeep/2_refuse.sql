-- Purpose: stop before anything is changed when the database and the files tell different stories.
-- Inputs: setting lastseat.migrations = [{"version", "name", "sha256"}], the files in order.
-- Results: nothing, or one error (LS100) whose message names the file.
-- Invariant: reads only.

do $$
declare
    fault text;
begin
    with files as (
        select * from jsonb_to_recordset(current_setting('lastseat.migrations')::jsonb)
                   as f (version integer, name text, sha256 text)
    ),
    faults as (
        select f.version, format('Migration %s was edited after it was applied.', f.name) as message
          from files f join hubspot_sync.schema_migrations m using (version)
         where m.sha256 <> f.sha256
        union all
        select m.version, format('Migration %s is in the database, but this version of Lastseat does not have it.', m.name)
          from hubspot_sync.schema_migrations m
         where not exists (select from files f where f.version = m.version)
        union all
        select f.version, format('Migration %s was never applied, but a later one was.', f.name)
          from files f
         where not exists (select from hubspot_sync.schema_migrations m where m.version = f.version)
           and exists (select from hubspot_sync.schema_migrations m where m.version > f.version)
    )
    select message into fault from faults order by version limit 1;
    if fault is not null then
        raise exception '%', fault using errcode = 'LS100';
    end if;
end
$$;

-- Purpose: decide whether the function files are to be applied again.
-- Inputs: setting lastseat.functions = [{"name", "sha256"}], the files in order; what is granted now.
-- Results: setting lastseat.stale, 'true' or 'false', for this transaction.
-- Invariant: all files or none, since a later one may depend on an earlier one; always after a new migration, and
-- always while somebody is let in who should not be.

do $$
declare
    stale boolean;
begin
    select exists (select from hubspot_sync.schema_migrations where xmin = pg_current_xact_id()::xid)
        or exists (select from jsonb_to_recordset(current_setting('lastseat.functions')::jsonb)
                            as f (name text, sha256 text)
                     full join hubspot_sync.schema_functions r using (name)
                    where f.sha256 is distinct from r.sha256)
      into stale;
    -- Somebody granted something since: the last function file takes it back.
    if not stale and to_regprocedure('hubspot_sync.exposed()') is not null then
        select exists (select hubspot_sync.exposed()) into stale;
    end if;
    perform set_config('lastseat.stale', stale::text, true);
    if stale then
        delete from hubspot_sync.schema_functions;
    end if;
end
$$;

-- Purpose: drop what no file defines any more and tell PostgREST.
-- Inputs: setting lastseat.stale.
-- Results: lastseat_api holds exactly the functions of the files.
-- Invariant: a function that this transaction did not write is defined by no file, since it wrote all of them.

do $$
declare
    leftover record;
begin
    if not current_setting('lastseat.stale')::boolean then
        return;
    end if;
    for leftover in
        select p.oid::regprocedure as name
          from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'lastseat_api' and p.xmin <> pg_current_xact_id()::xid
    loop
        execute format('drop routine %s', leftover.name);
    end loop;
    notify pgrst, 'reload schema';
end
$$;

-- Purpose: apply {name} and remember its digest.
-- Inputs: setting lastseat.stale.
-- Results: the objects that the file defines, created or replaced, and its row.
-- Invariant: nothing is replaced when no file has changed.

do $lastseat_step$
begin
    if current_setting('lastseat.stale')::boolean then
        execute $lastseat_body$
{body}
$lastseat_body$;
        insert into hubspot_sync.schema_functions (name, sha256) values ('{name}', '{sha256}');
    end if;
end
$lastseat_step$;

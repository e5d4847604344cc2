-- Purpose: apply {name} once and remember it.
-- Inputs: hubspot_sync.schema_migrations.
-- Results: the migration and its row.
-- Invariant: an applied migration is never run again.

do $lastseat_step$
begin
    if not exists (select from hubspot_sync.schema_migrations where version = {version}) then
        execute $lastseat_body$
{body}
$lastseat_body$;
        insert into hubspot_sync.schema_migrations (version, name, sha256) values ({version}, '{name}', '{sha256}');
    end if;
end
$lastseat_step$;

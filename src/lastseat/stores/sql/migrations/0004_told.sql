-- Purpose: remember what must still be told to everybody, and find what housekeeping may forget.
-- Inputs: the tables of 0001 and 0002.
-- Results: outbox.told, false from the commit of a refusal or a correction until it was announced; two indexes.
-- Invariant: news outlives the relay that found it.

alter table hubspot_sync.outbox add column told boolean not null default true;
create index outbox_untold on hubspot_sync.outbox (outbox_id) where not told;
create index outbox_ended on hubspot_sync.outbox (done_at)
    where state in ('announced', 'done', 'dropped') and verify_at is null;
create index claims_keyed on hubspot_sync.claims (created_at) where idempotency_key is not null;

-- Purpose: find the rows that were set aside without reading the whole outbox.
-- Inputs: the tables of 0001.
-- Results: an index.
-- Invariant: none of its own.

create index outbox_aside on hubspot_sync.outbox (outbox_id) where state = 'aside';

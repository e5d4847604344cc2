-- Purpose: one index for everybody's bookings, and no index that a look-up by another column may prefer.
-- Inputs: the tables of 0001, the indexes of 0001 and 0006.
-- Results: hubspot_bookings_listed holds all records, in the order of the list.
-- Invariant: a record is looked up by its key or contact, never by reading the list: an index of the records that are
-- not archived fits every question about such records, and a plan made while the tables were empty may choose it.

drop index hubspot_sync.hubspot_bookings_listed;
create index hubspot_bookings_listed
    on hubspot_sync.hubspot_bookings (exam_date desc nulls last, hubspot_id desc) include (archived_at);

-- Purpose: indexes in the order in which lists are read, so that a page costs the same in a large school.
-- Inputs: the tables of 0001.
-- Results: newest bookings first, newest exams first, contacts by student.
-- Invariant: no read function scans a table.

create index hubspot_bookings_listed on hubspot_sync.hubspot_bookings (exam_date desc nulls last, hubspot_id desc)
    where archived_at is null;
drop index hubspot_sync.hubspot_bookings_newest;
create index hubspot_mock_exams_newest on hubspot_sync.hubspot_mock_exams (exam_date desc nulls last, hubspot_id desc);
create index hubspot_contacts_by_student on hubspot_sync.hubspot_contacts (student_id) where archived_at is null;

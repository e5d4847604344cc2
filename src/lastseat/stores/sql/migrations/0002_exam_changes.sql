-- Purpose: let staff change exams through the outbox, and move a booking to another session.
-- Inputs: the tables of 0001.
-- Results: outbox kinds for exams, what tightens an exam meanwhile, and a cancel that waits for another booking.
-- Invariant: what tightens binds when accepted, what loosens binds when HubSpot has acknowledged it.

alter table hubspot_sync.outbox drop constraint outbox_kind_check;
alter table hubspot_sync.outbox add constraint outbox_kind_check check (kind in (
    'create', 'cancel', 'link_contact', 'link_exam', 'count',
    'exam_create', 'exam_update', 'exam_archive', 'exam_restore'));
-- A change of an exam: the name under which a resend is recognised, the unique value of a new record in HubSpot,
-- and the columns that change, typed as JSON; what HubSpot is sent is derived from them.
alter table hubspot_sync.outbox add column change_id uuid;
alter table hubspot_sync.outbox add column exam_key text;
alter table hubspot_sync.outbox add column fields jsonb not null default '{}';
-- A cancel that is part of a move waits until this booking is recorded; if that is refused, it is dropped.
alter table hubspot_sync.outbox add column after_booking text;
create unique index outbox_one_change on hubspot_sync.outbox (change_id) where change_id is not null;
create index outbox_open_exam_changes on hubspot_sync.outbox (exam_id, outbox_id)
    where kind like 'exam%' and state in ('waiting', 'sent');
create index outbox_after_booking on hubspot_sync.outbox (after_booking) where after_booking is not null;
create index outbox_seats_by_exam on hubspot_sync.outbox (exam_id)
    where kind in ('create', 'cancel') and state in ('waiting', 'sent');

-- capacity_bound: the least capacity among the changes under way. shut: one of them closes the exam.
alter table hubspot_sync.hubspot_mock_exams add column exam_key text;
alter table hubspot_sync.hubspot_mock_exams add column capacity_bound integer check (capacity_bound >= 0);
alter table hubspot_sync.hubspot_mock_exams add column shut boolean not null default false;
-- Who must hear that their session changed: also those whose booking holds no seat any more.
create index hubspot_bookings_of_exam on hubspot_sync.hubspot_bookings (mock_exam_id);

-- Its columns change with this version; the function files define it anew.
drop function if exists hubspot_sync.read_facts(jsonb);

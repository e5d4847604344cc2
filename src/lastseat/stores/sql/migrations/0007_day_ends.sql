-- Purpose: when an exam's day is over in the school's zone, for exams whose start cannot be read.
-- Inputs: the tables of 0001.
-- Results: a column that the mirror fills together with exam_date; rows mirrored before are read with the latest zone.
-- Invariant: no exam can be booked after its day.

alter table hubspot_sync.hubspot_mock_exams add column day_ends_at timestamptz;

"""Staff: exams made, changed and deleted, bookings moved."""

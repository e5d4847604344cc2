"""One test for each line of the three checklists in the requirements."""

"""The security chapter of the PRD, proved by attacking as each role."""

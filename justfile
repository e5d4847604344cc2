# Short names for what is done often. Needs the environment of the README's quick start.

# What a change must pass before it is shown to others: the fast part of .ci/run.
check: lint test

# Lint, format, types and import rules.
lint:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/basedpyright
    .venv/bin/lint-imports --no-logo

# The tests that need nothing but Python; more words go to pytest, e.g. `just test tests/schema -n 0`.
test *words:
    .venv/bin/pytest {{words}}

# Write the code as the formatter wants it, and mend what lint can mend.
fmt:
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .

# Write anew the parts of docs/ that follow from the code.
docs:
    .venv/bin/python -m tests.house.generated

# The whole site with sample data on this machine.
demo *words:
    .venv/bin/lastseat demo {{words}}

# The dress rehearsal of the README: 250 students, 100 seats, 10 HubSpot calls per 10 s.
rush *words:
    .venv/bin/lastseat rush --students 250 --seats 100 --hubspot-limit 10 --hubspot-latency-ms 200 {{words}}

# Everything, with the lanes that need npm and apt.
ci *lanes:
    .ci/run {{lanes}}

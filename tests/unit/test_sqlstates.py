"""Which errors of a database say that nothing happened; all others are a doubt."""

import pytest

from lastseat.errors import LeaseLost, Refused, Unavailable, Uncertain
from lastseat.stores.sqlstates import Shut, meaning_of

MEANINGS = {
    "22P05": Refused,
    "23505": Refused,
    "54000": Refused,
    "LS001": LeaseLost,
    "42883": Shut,
    "PGRST202": Shut,
    "53300": Unavailable,
    "55P03": Unavailable,
    "57014": Unavailable,
    "25006": Unavailable,
    "P0001": Unavailable,
    # Supavisor says XX000 "DbHandler exited" when it lost the server, perhaps just after the commit.
    "XX000": Uncertain,
    "58030": Uncertain,
    "57P01": Uncertain,
    "57P02": Uncertain,
    "57P05": Uncertain,
    "08006": Uncertain,
    "40P01": Uncertain,
    "ZZ999": Uncertain,
    "": Uncertain,
}


@pytest.mark.parametrize("state", MEANINGS)
def test_only_a_state_that_proves_it_says_that_nothing_happened(state):
    assert type(meaning_of(state, "DbHandler exited", "Postgres, send")) is MEANINGS[state]

"""The lists of types and places are configuration: JSON in the environment, one clear line when it is not."""

import pytest

from lastseat.errors import SetupError
from lastseat.settings import load


def test_a_list_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("LASTSEAT_LOCATIONS", '["Café", "Online"]')
    assert load().locations == ("Café", "Online")


@pytest.mark.parametrize("value", ["Calgary", "[]", '{"a": 1}', '"Calgary"', "", '["Calgary", 5]'])
def test_what_is_no_list_of_words_is_one_line_that_names_the_variable(monkeypatch, value):
    monkeypatch.setenv("LASTSEAT_LOCATIONS", value)
    with pytest.raises(SetupError, match="LASTSEAT_LOCATIONS"):
        load()

"""Tokens and scopes: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import pytest

from tests.emulator.crm import BOOKINGS, running

LIST = f"/crm/v3/objects/{BOOKINGS}"


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer pat-wrong"])
async def test_a_call_without_a_known_token_is_401(crm, header):
    """Auth: bearer `pat-…`. 401/403: stop and say which scope is missing."""
    answer = await crm.get(LIST, headers={"Authorization": header})
    assert answer.status == 401
    assert answer.body["category"] == "INVALID_AUTHENTICATION"
    assert answer.body["correlationId"]


async def test_403_names_the_missing_scope():
    """401/403: stop and say which scope is missing."""
    async with running(tokens=["pat-demo=crm.objects.custom.read"]) as crm:
        assert (await crm.get(LIST)).status == 200
        answer = await crm.post(LIST, {"properties": {}})
        assert answer.status == 403
        assert answer.body["category"] == "MISSING_SCOPES"
        scopes = answer.body["errors"][0]["context"]["requiredGranularScopes"]
        assert scopes == ["crm.objects.custom.write"]
        assert (await crm.get("/crm/v3/objects/contacts")).status == 403


async def test_a_token_is_never_written_to_the_log(tmp_path):
    """No secret in logs: an app is known by its number."""
    async with running(folder=tmp_path, tokens=["pat-very-secret"]) as crm:
        await crm.get(LIST, headers={"Authorization": "Bearer pat-very-secret"})
        assert (await crm.log())[0]["app"] == "app-1"
    assert all(b"secret" not in file.read_bytes() for file in tmp_path.iterdir())

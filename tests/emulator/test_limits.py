"""Limits: each test says its rule, HubSpot's or (`issue:`) the emulator's."""

import asyncio

import pytest

from hubspot_emulator.settings import PLANS
from tests.emulator.crm import BOOKINGS, running

LIST = f"/crm/v3/objects/{BOOKINGS}"
SEARCH = f"{LIST}/search"
HEADERS = ("Max", "Remaining", "Interval-Milliseconds", "Daily", "Daily-Remaining")


@pytest.mark.parametrize(
    ("plan", "calls", "daily"),
    [
        ("free", 100, 250_000),
        ("starter", 100, 250_000),
        ("professional", 190, 625_000),
        ("enterprise", 190, 1_000_000),
        ("increase", 250, 2_000_000),
    ],
)
def test_each_plan_has_its_limits(plan, calls, daily):
    """| Free, Starter | 100 | 250,000 | … | limit increase | 250 | +1,000,000 |"""
    assert PLANS[plan] == (calls, daily)


async def test_the_call_beyond_the_limit_is_429_until_the_window_moves_on():
    """calls per 10 s, per app; 429 body: `{"status":"error","message":"You have reached your ten_secondly_rolling
    limit.","errorType":"RATE_LIMIT","correlationId":…,"policyName":"TEN_SECONDLY_ROLLING"}`"""
    async with running(calls=3) as crm:
        for _ in range(3):
            assert (await crm.get(LIST)).status == 200
            await crm.clock.advance(1)
        refused = await crm.get(LIST)
        assert refused.status == 429
        correlation = refused.body.pop("correlationId")
        assert correlation
        assert refused.body == {
            "status": "error",
            "message": "You have reached your ten_secondly_rolling limit.",
            "errorType": "RATE_LIMIT",
            "policyName": "TEN_SECONDLY_ROLLING",
        }
        await crm.clock.advance(6.9)  # 9.9 s after the first
        assert (await crm.get(LIST)).status == 429
        await crm.clock.advance(0.1)
        assert (await crm.get(LIST)).status == 200
        assert (await crm.get(LIST)).status == 429


async def test_the_headers_tell_what_is_left():
    """Headers elsewhere: `X-HubSpot-RateLimit-Max`, `-Remaining`, `-Interval-Milliseconds`, `-Daily`,
    `-Daily-Remaining`."""
    async with running(calls=3, daily=100) as crm:
        await crm.get(LIST)
        headers = (await crm.get(LIST)).headers
        found = [headers[f"X-HubSpot-RateLimit-{name}"] for name in HEADERS]
        assert found == ["3", "1", "10000", "100", "98"]


async def test_calls_are_counted_at_arrival_not_at_the_answer():
    """issue: a hard rolling limit counted at arrival"""
    async with running(calls=2, latency_ms=9_000) as crm:
        slow = [asyncio.create_task(crm.get(LIST)) for _ in range(2)]
        await crm.clock.until_asleep(2)
        assert (await crm.get(LIST)).status == 429  # answered at once, while both are under way
        await crm.clock.advance(4.5)
        await crm.clock.advance(4.5)
        assert [one.status for one in await asyncio.gather(*slow)] == [200, 200]
        await crm.limits(latency_ms=0)
        await crm.clock.advance(0.9)
        assert (await crm.get(LIST)).status == 429
        await crm.clock.advance(0.1)
        assert (await crm.get(LIST)).status == 200  # 10 s after arrival, 1 s after the answers


async def test_of_a_hundred_at_once_exactly_the_limit_passes():
    """a hard rolling limit counted at arrival: the PRD's single creates book 10 and fail 90"""
    async with running(calls=10, latency_ms=200) as crm:
        body = {"properties": {"mock_exam_id": "23456789001", "is_active": "Active", "exam_date": "2026-12-05"}}
        calls = [asyncio.create_task(crm.post(LIST, body)) for _ in range(100)]
        await crm.clock.until_asleep(10)
        for answered, call in enumerate(asyncio.as_completed(calls), 1):
            await call
            if answered == 90:
                break
        await crm.clock.advance(0.1)
        await crm.clock.advance(0.1)
        statuses = [one.status for one in await asyncio.gather(*calls)]
        assert (statuses.count(201), statuses.count(429)) == (10, 90)
        assert len(await crm.names()) == 10


async def test_each_app_has_a_window_of_its_own():
    """calls per 10 s, per app"""
    async with running(calls=1, tokens=["pat-demo", "pat-other"]) as crm:
        other = {"Authorization": "Bearer pat-other"}
        assert (await crm.get(LIST)).status == 200
        assert (await crm.get(LIST)).status == 429
        assert (await crm.get(LIST, headers=other)).status == 200


async def test_search_has_a_limit_per_second_and_no_headers():
    """**Search: 5 per second per account**, shared by all apps, no rate-limit headers on its answers. Other policies
    … for search, `SECONDLY`."""
    async with running(tokens=["pat-demo", "pat-other"]) as crm:
        other = {"Authorization": "Bearer pat-other"}
        answers = [await crm.post(SEARCH, {}, headers=other if n % 2 else {}) for n in range(6)]
        assert [one.status for one in answers] == [200] * 5 + [429]
        assert answers[5].body["policyName"] == "SECONDLY"
        assert answers[5].body["message"] == "You have reached your secondly limit."
        assert not [name for one in answers for name in one.headers if "RateLimit" in name]
        assert (await crm.get(LIST)).status == 200
        await crm.clock.advance(1)
        assert (await crm.post(SEARCH, {})).status == 200


async def test_the_daily_limit_is_shared_by_all_apps_until_midnight():
    """per day, per account; other policies `DAILY`"""
    async with running(daily=3, tokens=["pat-demo", "pat-other"]) as crm:
        other = {"Authorization": "Bearer pat-other"}
        answers = [await crm.get(LIST, headers=other if n % 2 else {}) for n in range(4)]
        assert [one.status for one in answers] == [200, 200, 200, 429]
        assert answers[3].body["policyName"] == "DAILY"
        await crm.clock.advance(86_400)
        assert (await crm.get(LIST)).status == 200


async def test_other_apps_use_up_what_the_account_shares():
    """**Search: 5 per second per account**, shared by all apps; per day, per account"""
    async with running(other_search_per_s=50, other_calls_per_s=10, same_token_calls_per_s=5, daily=10_000) as crm:
        await crm.get(LIST)
        await crm.clock.advance(10)
        assert (await crm.post(SEARCH, {})).status == 429
        headers = (await crm.get(LIST)).headers
        assert 120 < int(headers["X-HubSpot-RateLimit-Remaining"]) < 160  # 190 less some 50 of the neighbour's
        assert int(headers["X-HubSpot-RateLimit-Daily-Remaining"]) < 9_850


async def test_a_refused_search_or_unknown_token_uses_no_window():
    """calls per 10 s, per app: a call without an app belongs to no window"""
    async with running(calls=1) as crm:
        for _ in range(3):
            assert (await crm.get(LIST, headers={"Authorization": "Bearer x"})).status == 401
        assert (await crm.get(LIST)).status == 200


async def test_the_log_tells_the_policy_and_the_rows_of_a_refused_call():
    """429: the request log is what a judge reads"""
    async with running(calls=0) as crm:
        assert (await crm.upsert("B-1", "B-2")).status == 429
        line = (await crm.log())[0]
        assert (line["status"], line["policy"], line["rows"]) == (429, "TEN_SECONDLY_ROLLING", 2)
        assert (line["keys"], line["counted"], line["committed"]) == (["B-1", "B-2"], False, False)
        assert await crm.names() == []

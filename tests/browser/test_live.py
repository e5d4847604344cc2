"""What comes to the student page by itself: seats that others take, and what became of the student's own wishes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Route

from tests.browser.conftest import Visitor

AVAILABLE, EVENTS = "**/api/mock-exams/available", "**/api/events"


def stop(route: Route) -> None:
    route.abort()


@contextmanager
def booked_elsewhere(visitor: Visitor, exam: str) -> Iterator[str]:
    """By the same student on another device, and cancelled in the end; the booking's id."""
    api, origin = visitor.page.request, {"Origin": visitor.site}
    wish = {"examId": exam, "dominant_hand": "left"}
    booked = api.post(f"{visitor.site}/api/bookings/create", data=wish, headers=origin)
    assert booked.status in (201, 202)
    booking_id = booked.json()["booking"]["booking_id"]
    try:
        yield booking_id
    finally:
        ids = {"bookingIds": [booking_id]}
        api.post(f"{visitor.site}/api/bookings/batch-cancel", data=ids, headers=origin)


def left(visitor: Visitor, number: int) -> int:
    found = re.match(r"\d+", visitor.card("Clinical Skills", number).locator(".state").inner_text())
    assert found
    return int(found[0])


@pytest.mark.parametrize("blocked", [AVAILABLE, EVENTS, ""], ids=["stream", "list", "control: neither"])
def test_seats_that_others_take_show_up_over_the_stream_and_else_over_the_list(visitor: Visitor, blocked: str):
    number = 2 if blocked == AVAILABLE else 3
    if blocked != AVAILABLE:
        visitor.page.route(EVENTS, stop)
    visitor.arrive()
    visitor.sign_in({AVAILABLE: 0, EVENTS: 2}.get(blocked, 6))
    visitor.page.wait_for_function("() => performance.getEntriesByName(location.origin + '/api/session').length > 0")
    if blocked != EVENTS:
        visitor.page.route(AVAILABLE, stop)
    before, exam = left(visitor, number), visitor.card("Clinical Skills", number).get_attribute("data-exam")
    assert exam
    with booked_elsewhere(visitor, exam):
        now = visitor.card("Clinical Skills", number).locator(".state", has_text=f"{before - 1} of")
        if blocked:
            now.wait_for()
        else:
            visitor.page.wait_for_timeout(4_000)
            assert now.count() == 0


def test_a_booking_made_on_another_device_is_shown_here(visitor: Visitor):
    visitor.arrive()
    visitor.sign_in(5)
    exam = visitor.card("Clinical Skills", 1).get_attribute("data-exam")
    assert exam
    with booked_elsewhere(visitor, exam) as booking_id:
        visitor.page.locator(f'#mine-list [data-booking="{booking_id}"]').wait_for(timeout=5_000)
        visitor.card("Clinical Skills", 1).get_by_role("button", name="Booked").wait_for()
    assert visitor.faults == []


def test_a_page_that_nobody_sees_keeps_no_stream(visitor: Visitor):
    opened: list[str] = []
    visitor.page.on("request", lambda request: opened.append(request.url) if "/api/events" in request.url else None)
    visitor.arrive()
    shown = """hidden => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with visitor.page.expect_event("requestfailed", lambda request: "/api/events" in request.url):
        visitor.page.evaluate(shown, True)
    count = len(opened)
    with visitor.page.expect_request(EVENTS), visitor.page.expect_response(AVAILABLE):
        visitor.page.evaluate(shown, False)
    assert len(opened) == count + 1


def test_a_refused_stream_is_opened_again_later_and_the_list_is_asked_for_meanwhile(visitor: Visitor):
    tries: list[str] = []

    def full_at_first(route: Route) -> None:
        tries.append(route.request.url)
        if len(tries) == 1:
            route.fulfill(status=503, headers={"retry-after": "1"}, json={"success": False, "error": "Full."})
        else:
            route.continue_()

    visitor.page.route(EVENTS, full_at_first)
    with visitor.page.expect_response(AVAILABLE):
        visitor.arrive()
    with visitor.page.expect_response(lambda response: "/api/events" in response.url and response.status == 200):
        pass


def test_two_browsers_see_one_count(visitor: Visitor, browser: Browser):
    visitor.arrive()
    visitor.sign_in(7)
    context = browser.new_context()
    other = Visitor(context.new_page(), visitor.site)
    other.arrive()
    before, exam = left(other, 4), visitor.card("Clinical Skills", 4).get_attribute("data-exam")
    assert exam
    with booked_elsewhere(visitor, exam):
        other.card("Clinical Skills", 4).locator(".state", has_text=f"{before - 1} of").wait_for(timeout=2_000)
    context.close()

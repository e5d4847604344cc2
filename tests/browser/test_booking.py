"""What a student does on the page, on real parts: look, sign in, book, see it, cancel it."""

import json
import re

import pytest
from playwright.sync_api import Route

from tests.browser.conftest import Visitor

CREATE = "**/api/bookings/create"


def book(visitor: Visitor, kind: str, number: int = 0) -> None:
    """Press Book on a session of this type and answer what it asks."""
    visitor.card(kind, number).get_by_role("button").click()
    if kind == "Clinical Skills":
        visitor.page.get_by_label("Left").check()
    elif kind != "Mock Discussion":
        visitor.page.get_by_label("Attending location").fill("Calgary")
    if kind != "Mock Discussion":
        visitor.page.locator("#ask").get_by_role("button", name="Book").click()


def seats(visitor: Visitor, kind: str, number: int = 0) -> int:
    found = re.match(r"\d+", visitor.card(kind, number).locator(".state").inner_text())
    return int(found[0]) if found else 0


def test_a_student_sees_books_finds_and_cancels_a_seat(visitor: Visitor):
    visitor.arrive()
    before = seats(visitor, "Clinical Skills")
    assert before > 0
    assert "seats left in" in visitor.page.locator(".total").first.inner_text()
    visitor.sign_in(1)
    book(visitor, "Clinical Skills")
    visitor.says("You are booked: Clinical Skills")
    visitor.card("Clinical Skills").get_by_role("button", name="Booked").wait_for()
    assert seats(visitor, "Clinical Skills") == before - 1

    visitor.page.reload()
    mine = visitor.page.locator("#mine-list .card")
    mine.wait_for()
    assert "Clinical Skills" in mine.inner_text()
    assert "Booked" in mine.locator(".state").inner_text()

    mine.get_by_role("button", name="Cancel").click()
    visitor.page.get_by_role("button", name="Keep it").click()
    assert mine.count() == 1
    mine.get_by_role("button", name="Cancel").click()
    visitor.page.get_by_role("button", name="Cancel the booking").click()
    visitor.says("Cancelled: Clinical Skills")
    visitor.page.locator("#mine-state", has_text="You have no bookings yet.").wait_for()
    visitor.page.locator("#mine-old").wait_for()
    visitor.card("Clinical Skills").get_by_role("button", name="Book", exact=False).wait_for()
    assert seats(visitor, "Clinical Skills") == before
    assert visitor.faults == []


def test_everything_works_by_keyboard_alone(visitor: Visitor):
    visitor.arrive()
    keys = visitor.page.keyboard

    def reach(selector: str) -> None:
        for _ in range(60):
            if visitor.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            keys.press("Tab")
        raise AssertionError(f"{selector} cannot be reached by Tab")

    reach("#sample")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    reach("#sample-form button")
    keys.press("Enter")
    visitor.says("You are signed in")
    exam = visitor.card("Clinical Skills", 1).get_attribute("data-exam")
    reach(f'[data-exam="{exam}"] button')
    keys.press("Enter")
    visitor.page.locator("#ask[open]").wait_for()
    keys.press("Escape")
    assert visitor.page.evaluate("e => document.activeElement.closest('.card')?.dataset.exam === e", exam)
    keys.press("Enter")
    reach("#ask input[type=radio]")
    keys.press("Space")
    keys.press("Enter")
    visitor.says("You are booked")
    assert visitor.page.evaluate("e => document.activeElement.closest('.card')?.dataset.exam === e", exam)
    visitor.page.locator("h1").click()
    keys.press("Tab")
    reach("#mine-list button")
    keys.press("Space")
    reach("#confirm button[value=cancel]")
    keys.press("Enter")
    visitor.says("Cancelled")
    visitor.page.wait_for_function("document.activeElement.id === 'mine-title'")
    assert visitor.faults == []


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Clinical Skills", "dominant_hand"),
        ("Situational Judgment", "attending_location"),
        ("Mini-mock", "attending_location"),
        ("Mock Discussion", None),
    ],
)
def test_each_type_asks_for_what_it_needs_and_no_more(visitor: Visitor, kind: str, field: str | None):
    sent: list[dict[str, str]] = []

    def full(route: Route) -> None:
        sent.append(route.request.post_data_json)
        body = {"success": False, "error": "Session is full", "code": "SESSION_FULL"}
        route.fulfill(status=409, content_type="application/json", body=json.dumps(body))

    visitor.arrive()
    visitor.sign_in(2)
    visitor.page.route(CREATE, full)
    book(visitor, kind)
    visitor.says("This session is full now")
    assert set(sent[0]) == {"examId"} | ({field} if field else set())


def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_books_once(visitor: Visitor):
    keys: list[str] = []

    def lose_the_first(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()  # the server does its work, only the answer is lost
            route.abort()
        else:
            route.continue_()

    visitor.arrive()
    visitor.sign_in(3)
    visitor.page.route(CREATE, lose_the_first)
    book(visitor, "Mock Discussion")
    visitor.says("You are booked")
    assert len(keys) == 2
    assert keys[0] == keys[1]
    visitor.page.locator("#mine-list .card").first.wait_for()
    assert visitor.page.locator("#mine-list .card").count() == 1


def test_the_next_wish_has_another_key(visitor: Visitor):
    keys: list[str] = []

    def note(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.continue_()

    visitor.arrive()
    visitor.sign_in(4)
    visitor.page.route(CREATE, note)
    for _ in range(2):
        book(visitor, "Mock Discussion", 1)
        visitor.says("You are booked")
        visitor.page.locator("#mine-list").get_by_role("button", name="Cancel").click()
        visitor.page.get_by_role("button", name="Cancel the booking").click()
        visitor.says("Cancelled")
    assert len(set(keys)) == 2
    assert visitor.faults == []


def test_a_held_seat_is_followed_until_it_is_confirmed(visitor: Visitor):
    asked: list[str] = []

    def held(route: Route) -> None:
        booking = {"booking_id": "LS-HELD", "is_active": "Pending"}
        body = {"success": True, "status": "pending", "booking": booking, "statusUrl": "/api/bookings/LS-HELD"}
        route.fulfill(status=202, content_type="application/json", body=json.dumps(body))

    def state(route: Route) -> None:
        asked.append(route.request.url)
        booking = {"booking_id": "LS-HELD", "is_active": "Pending" if len(asked) < 2 else "Active"}
        body = json.dumps({"success": True, "booking": booking})
        route.fulfill(status=200, content_type="application/json", body=body)

    visitor.arrive()
    visitor.sign_in(5)
    visitor.page.route(CREATE, held)
    visitor.page.route("**/api/bookings/LS-HELD", state)
    book(visitor, "Mock Discussion")
    visitor.says("Your seat is secured")
    visitor.says("Confirmed. You are booked")
    assert len(asked) == 2
    assert visitor.faults == []


def test_a_session_that_ended_meanwhile_asks_to_sign_in_again(visitor: Visitor):
    visitor.arrive()
    visitor.sign_in(6)
    visitor.page.context.clear_cookies()
    book(visitor, "Mock Discussion")
    visitor.says("Your session has ended")
    assert visitor.page.evaluate("document.activeElement.id") == "sample"


def test_who_is_not_signed_in_is_asked_to(visitor: Visitor):
    visitor.arrive()
    visitor.card("Mock Discussion").get_by_role("button").click()
    visitor.says("Sign in first")
    assert visitor.faults == []


def test_a_link_signs_in_and_leaves_no_token_behind(visitor: Visitor):
    visitor.arrive()
    visitor.sign_in(8)
    [cookie] = visitor.page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.page.locator("#sign-in").wait_for()
    assert visitor.page.context.cookies() == []

    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.page.goto(f"{visitor.site}/sign-in#token={cookie['value']}")
    visitor.page.locator("#who", has_text="Signed in as").wait_for()
    assert cookie["value"] not in visitor.page.url
    assert not [url for url in asked if cookie["value"] in url.partition("#")[0]]
    visitor.page.go_back()
    assert cookie["value"] not in visitor.page.url


def test_a_bad_link_says_so(visitor: Visitor):
    visitor.page.goto(f"{visitor.site}/sign-in#token=rubbish")
    visitor.says("The token is not valid here.")
    visitor.page.goto(f"{visitor.site}/sign-in")
    visitor.says("This link carries no token.")


def pending(reference: str, state: str = "Pending") -> dict[str, object]:
    """A row of somebody's own list that waits for its confirmation."""
    words = {"mock_type": "Mock Discussion", "exam_date": "2031-03-05", "start_time": "09:00", "location": "Calgary"}
    return {"booking_id": reference, "hubspot_id": None, "mock_exam_id": "1", "is_active": state, **words}


def listed(*rows: dict[str, object], page: int = 1, pages: int = 1) -> dict[str, object]:
    pagination = {"page": page, "limit": 100, "total": len(rows), "pages": pages}
    return {"success": True, "bookings": list(rows), "pagination": pagination}


def test_every_pending_booking_is_followed_also_after_the_page_was_loaded_anew(visitor: Visitor):
    states = {"LS-A": "Pending", "LS-B": "Pending"}

    def mine(route: Route) -> None:
        route.fulfill(json=listed(*(pending(reference, state) for reference, state in states.items())))

    def one(route: Route) -> None:
        reference = route.request.url.rpartition("/")[2]
        route.fulfill(json={"success": True, "booking": pending(reference, states[reference])})

    visitor.arrive()
    visitor.sign_in(10)
    visitor.page.route("**/api/bookings/list?*", mine)
    visitor.page.route("**/api/bookings/LS-*", one)
    visitor.page.reload()
    waiting = visitor.page.locator("#mine-list .state", has_text="being confirmed")
    waiting.nth(1).wait_for()
    states["LS-A"] = "Active"
    visitor.says("Confirmed. You are booked")
    waiting.nth(1).wait_for(state="detached")
    states["LS-B"] = "Refused"
    visitor.says("could not be booked")
    waiting.first.wait_for(state="detached")
    assert visitor.faults == []


def test_a_cancellation_that_waits_is_followed_until_hubspot_has_it(visitor: Visitor):
    states = {"LS-A": "Active"}

    def row() -> dict[str, object]:
        return pending("LS-A", states["LS-A"])

    def noted(route: Route) -> None:
        body = {"success": True, "results": [{"id": "LS-A", "success": True, "status": "pending"}]}
        route.fulfill(json=body)

    visitor.arrive()
    visitor.sign_in(10)
    visitor.page.route("**/api/bookings/list?*", lambda route: route.fulfill(json=listed(row())))
    visitor.page.route("**/api/bookings/LS-*", lambda route: route.fulfill(json={"success": True, "booking": row()}))
    visitor.page.route("**/api/bookings/batch-cancel", noted)
    visitor.page.reload()
    visitor.page.locator("#mine-list").get_by_role("button", name="Cancel").click()
    visitor.page.locator("#confirm button[value=cancel]").click()
    visitor.says("noted and being confirmed")
    visitor.page.wait_for_timeout(1500)  # it looks, and the seat is still held
    assert visitor.page.locator("#notice", has_text="being confirmed").count() == 1
    states["LS-A"] = "Cancelled"
    visitor.says("Cancelled:")
    visitor.page.locator("#mine-old-list .card").first.wait_for(state="attached")
    assert visitor.page.locator("#mine-list .card").count() == 0
    assert visitor.faults == []


def test_a_repeated_wish_whose_booking_was_cancelled_meanwhile_says_so(visitor: Visitor):
    def cancelled(route: Route) -> None:
        route.fulfill(json={"success": True, "status": "cancelled", "booking": pending("LS-OVER", "Cancelled")})

    visitor.arrive()
    visitor.sign_in(11)
    visitor.page.route(CREATE, cancelled)
    book(visitor, "Mock Discussion")
    visitor.says("Your booking was cancelled meanwhile")
    assert visitor.page.locator("#notice.good").count() == 0


def test_a_lost_network_is_said_when_signing_in_and_out(visitor: Visitor):
    broken = ["POST"]

    def sometimes(route: Route) -> None:
        if route.request.method in broken:
            route.abort()
        else:
            route.continue_()

    visitor.arrive()
    visitor.page.locator("#sample option").nth(11).wait_for(state="attached")
    visitor.page.locator("#sample").select_option(index=11)
    visitor.page.route("**/api/demo/session", sometimes)
    visitor.page.route("**/api/session", sometimes)
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.says("Press Sign in again")
    broken[:] = ["DELETE"]
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.says("You are signed in")
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.says("Press Sign out again")
    broken.clear()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.says("You are signed out")


def test_all_pages_of_the_bookings_are_shown(visitor: Visitor):
    def mine(route: Route) -> None:
        second = "page=2" in route.request.url
        row = pending("LS-SECOND" if second else "LS-FIRST", "Active")
        route.fulfill(json=listed(row, page=2 if second else 1, pages=2))

    visitor.arrive()
    visitor.sign_in(11)
    visitor.page.route("**/api/bookings/list?*", mine)
    visitor.page.reload()
    visitor.page.locator("#mine-list .card").nth(1).wait_for()
    assert visitor.page.locator("#mine-list .card").count() == 2
    assert visitor.faults == []


def test_a_refreshed_list_leaves_the_keyboard_where_it_was(visitor: Visitor):
    states = {"LS-A": "Pending", "LS-B": "Active"}

    def mine(route: Route) -> None:
        route.fulfill(json=listed(*(pending(reference, state) for reference, state in states.items())))

    def one(route: Route) -> None:
        route.fulfill(json={"success": True, "booking": pending("LS-A", states["LS-A"])})

    visitor.arrive()
    visitor.sign_in(11)
    visitor.page.route("**/api/bookings/list?*", mine)
    visitor.page.route("**/api/bookings/LS-A", one)
    visitor.page.reload()
    visitor.page.locator('[data-booking="LS-B"] button').focus()
    states["LS-A"] = "Active"
    visitor.page.locator("#mine-list .state", has_text="being confirmed").wait_for(state="detached")
    assert visitor.page.evaluate("document.activeElement.closest('.card')?.dataset.booking") == "LS-B"

"""What staff does on its page, on real parts: exams made, changed and deleted, seats given and moved, the sync."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from playwright.sync_api import Locator, Route

from tests.browser.conftest import Visitor
from tests.browser.test_page import FAULTS_OF_THE_PAGE, LOW_CONTRAST

STATUS = "**/api/admin/sync/status"
DAYS = count(40)


@pytest.fixture
def clerk(visitor: Visitor) -> Iterator[Visitor]:
    """Signed in as staff of the demo, with the exams loaded."""
    visitor.page.goto(f"{visitor.site}/admin")
    visitor.page.get_by_role("button", name="Sign in as staff").click()
    visitor.page.locator("#exams-list .card").first.wait_for()
    visitor.page.locator("#sync-records li").first.wait_for()
    yield visitor
    assert visitor.faults == []


def exam(clerk: Visitor, name: str) -> Locator:
    return clerk.page.locator("#exams-list .card", has=clerk.page.locator("h3", has_text=name))


def press(card: Locator, button: str) -> None:
    card.get_by_role("button", name=re.compile(f"^{button}\\b")).click()


def day(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def fill(clerk: Visitor, **fields: str) -> None:
    for name, value in fields.items():
        clerk.page.locator(f"#{name}").fill(value)


def make(clerk: Visitor, name: str, *, seats: int = 3) -> Locator:
    """A new exam of this name, on a day that has no other; its card."""
    page = clerk.page
    page.get_by_role("button", name="New exam").click()
    page.locator("#mock_type").select_option("Mock Discussion")
    fill(
        clerk,
        mock_exam_name=name,
        exam_date=day(next(DAYS)),
        start_time="09:00",
        end_time="12:00",
        capacity=str(seats),
    )
    page.get_by_role("button", name="Save").click()
    exam(clerk, name).wait_for()
    return exam(clerk, name)


def book(clerk: Visitor, contact_id: str) -> None:
    clerk.page.get_by_role("button", name="Book a student").click()
    clerk.page.get_by_label("contact ID").fill(contact_id)
    clerk.page.get_by_role("button", name="Book the seat").click()


def somebody(clerk: Visitor, number: int) -> str:
    """A student whom no other test signs in as: the contacts' ids follow each other, the first 12 are the samples."""
    samples = clerk.page.request.get(f"{clerk.site}/api/demo/students").json()["students"]
    return str(max(int(sample["contact_id"]) for sample in samples) + 1 + number)


def test_an_exam_is_made_changed_closed_opened_deleted_and_restored(clerk: Visitor):
    card = make(clerk, "Life of an exam")
    assert "Open, 0 of 3 seats taken" in card.locator(".state").inner_text()

    press(card, "Edit")
    assert clerk.page.locator("#capacity").input_value() == "3"
    fill(clerk, capacity="5")
    clerk.page.get_by_role("button", name="Save").click()
    clerk.says("Changed:")
    card.locator(".state", has_text="of 5 seats").wait_for()

    press(card, "Close")
    clerk.says("Closed:")
    card.locator(".state", has_text="Closed").wait_for()
    press(card, "Open")
    clerk.says("Opened:")
    card.locator(".state", has_text="Open,").wait_for()

    press(card, "Delete")
    clerk.page.locator("#delete").get_by_role("button", name="Delete the exam").click()
    clerk.says("Deleted:")
    card.wait_for(state="detached")
    clerk.page.get_by_label("Show").select_option("deleted")
    press(exam(clerk, "Life of an exam"), "Restore")
    clerk.says("Restored:")
    clerk.page.get_by_label("Show").select_option("upcoming")
    exam(clerk, "Life of an exam").wait_for()


def test_a_change_sends_only_what_differs(clerk: Visitor):
    sent: list[dict[str, object]] = []

    def note(route: Route) -> None:
        sent.append(route.request.post_data_json)
        route.continue_()

    card = make(clerk, "One field")
    clerk.page.route("**/api/admin/mock-exams/update", note)
    press(card, "Edit")
    clerk.page.get_by_role("button", name="Save").click()
    clerk.page.locator("#exam-fault", has_text="Nothing was changed").wait_for()
    fill(clerk, opens_at=f"{day(30)}T09:00")
    clerk.page.get_by_role("button", name="Save").click()
    clerk.says("Changed:")
    card.locator(".state", has_text=re.compile(r"Opens .*09:00")).wait_for()
    [body] = sent
    assert set(body) == {"examId", "opens_at"}


def test_what_the_server_refuses_is_said_in_the_form_and_nothing_typed_is_lost(clerk: Visitor):
    page = clerk.page
    page.get_by_role("button", name="New exam").click()
    fill(clerk, mock_exam_name="Kept")
    page.get_by_role("button", name="Save").click()
    page.locator("#exam-fault", has_text="Date").wait_for()
    fill(clerk, exam_date=day(40), start_time="12:00", end_time="09:00", capacity="3")
    page.get_by_role("button", name="Save").click()
    page.locator("#exam-fault", has_text="end_time").wait_for()
    assert page.evaluate("document.activeElement.id") == "end_time"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New exam").click()
    assert page.locator("#mock_exam_name").input_value() == "Kept"
    clerk.faults.clear()  # Chromium writes each 422 to the console


def test_a_lost_answer_makes_one_exam(clerk: Visitor):
    keys: list[str] = []

    def lose_the_first(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    clerk.page.route("**/api/admin/mock-exams/create", lose_the_first)
    make(clerk, "Made once")
    clerk.says("Made:")
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert exam(clerk, "Made once").count() == 1
    clerk.faults.clear()


def test_staff_books_moves_and_cancels_for_a_student(clerk: Visitor):
    one, other, contact_id = make(clerk, "From here"), make(clerk, "To there"), somebody(clerk, 9)
    press(one, "Bookings")
    clerk.page.locator("#roster-state", has_text="Nobody is booked").wait_for()
    book(clerk, "nobody")
    clerk.page.locator("#seat-fault", has_text="contactId").wait_for()
    assert clerk.page.evaluate("document.activeElement.id") == "contact_id"
    clerk.page.get_by_label("contact ID").fill(contact_id)
    clerk.page.get_by_role("button", name="Book the seat").click()
    clerk.says("Booked:")
    clerk.page.locator("#roster-list .card").wait_for()
    one.locator(".state", has_text="1 of 3").wait_for()

    press(clerk.page.locator("#roster-list .card"), "Move")
    clerk.page.get_by_label("To the session").select_option(other.get_attribute("data-exam"))
    clerk.page.locator("#move").get_by_role("button", name="Move the booking").click()
    clerk.says("Moved:")
    clerk.page.locator("#roster-state", has_text="Nobody is booked").wait_for()
    other.locator(".state", has_text="1 of 3").wait_for()

    press(other, "Bookings")
    press(clerk.page.locator("#roster-list .card"), "Cancel")
    clerk.page.locator("#confirm").get_by_role("button", name="Cancel the booking").click()
    clerk.says("Cancelled:")
    other.locator(".state", has_text="0 of 3").wait_for()
    clerk.faults.clear()


def test_seats_that_students_take_are_counted_live(clerk: Visitor):
    card = make(clerk, "Watched")
    clerk.page.route("**/api/admin/mock-exams?*", lambda route: route.abort())
    contact_id = somebody(clerk, 8)
    booked = clerk.page.request.post(
        f"{clerk.site}/api/bookings/create",
        data={"examId": card.get_attribute("data-exam"), "contactId": contact_id},
        headers={"Origin": clerk.site},
    )
    assert booked.status in (201, 202)
    card.locator(".state", has_text="1 of 3").wait_for(timeout=3_000)
    clerk.faults.clear()


def test_the_sync_is_shown_and_can_be_asked_for(clerk: Visitor):
    page = clerk.page
    assert "Supabase: well" in page.locator("#sync-parts").inner_text()
    assert "HubSpot: well" in page.locator("#sync-parts").inner_text()
    assert re.search(r"Exams: \d+, and \d+ deleted; read between", page.locator("#sync-records").inner_text())
    page.locator("#aside-state", has_text="Nothing is set aside.").wait_for()
    page.get_by_role("button", name="Read all exams from HubSpot").click()
    clerk.says("read, ")
    card = make(clerk, "Synced")
    press(card, "Bookings")
    page.get_by_role("button", name="Read this exam").click()
    clerk.says("0 read, 0 gone")


def test_trouble_is_named_and_what_was_refused_can_be_tried_again(clerk: Visitor):
    row = {
        "outbox_id": 7, "kind": "create", "state": "aside", "reason": "PROPERTY_DOESNT_EXIST: nope", "attempts": 3,
        "student_name": "Ada L", "set_aside_at": "2031-03-05T09:00:00Z",
    }  # fmt: skip
    tried: list[object] = []

    def trouble(route: Route) -> None:
        answer = route.fetch()
        body = answer.json() | {"aside": 40 if tried else 41}
        body["parts"]["hubspot"] = {"ok": False, "detail": "away: time-out", "needed": False}
        body["outbox"] = [{"kind": "create", "waiting": 4, "sent": 1, "oldest_at": None, "attempts_most": 2,
                           "last_error": "429"}]  # fmt: skip
        route.fulfill(response=answer, json=body)

    def aside(route: Route) -> None:
        rows = [] if tried else [row]
        pagination = {"page": 1, "limit": 20, "total": len(rows), "pages": len(rows)}
        route.fulfill(json={"success": True, "rows": rows, "pagination": pagination})

    def again(route: Route) -> None:
        tried.append(route.request.post_data_json)
        route.fulfill(status=202, body=json.dumps({"success": True, "status": "queued", "row": row}))

    clerk.page.route("**/api/admin/set-aside?*", aside)
    clerk.page.route("**/api/admin/set-aside/retry", again)
    clerk.page.route(STATUS, trouble)
    clerk.page.locator("#sync-parts", has_text="HubSpot: not well. away: time-out").wait_for()
    assert "create: 4 waiting, 1 sent. HubSpot’s last words: 429" in clerk.page.locator("#sync-outbox").inner_text()
    clerk.page.locator("#aside-list", has_text="PROPERTY_DOESNT_EXIST").wait_for()
    clerk.page.get_by_role("button", name="Try again").click()
    clerk.says("It is tried again: Ada L")
    clerk.page.locator("#aside-state", has_text="Nothing is set aside.").wait_for()
    assert tried == [{"outboxId": 7}]


def test_with_the_database_away_the_parts_are_still_told(clerk: Visitor):
    unknown = dict.fromkeys(("at", "records", "backfill", "outbox", "aside", "relay"))
    parts = {"supabase": {"ok": False, "detail": "away; reads are served stale, writes are refused"}}
    body = {"success": True, **unknown, "stale": True, "parts": parts}
    clerk.page.route(STATUS, lambda route: route.fulfill(json=body))
    clerk.page.locator("#sync-state", has_text="The database is away").wait_for()
    assert "Supabase: away." in clerk.page.locator("#sync-parts").inner_text()


def test_a_student_finds_no_desk_here(visitor: Visitor):
    visitor.arrive()
    visitor.sign_in(6)
    visitor.page.goto(f"{visitor.site}/admin")
    visitor.page.locator("#sign-in", has_text="This account is a student’s.").wait_for()
    assert not visitor.page.locator("#desk").is_visible()
    assert visitor.faults == []


def test_a_session_that_ended_leaves_the_form_as_it_was(clerk: Visitor):
    clerk.page.get_by_role("button", name="New exam").click()
    typed = {"mock_exam_name": "Typed before", "start_time": "09:00", "end_time": "12:00", "capacity": "3"}
    fill(clerk, exam_date=day(40), **typed)
    clerk.page.context.clear_cookies()
    clerk.page.get_by_role("button", name="Save").click()
    clerk.says("Your session has ended")
    clerk.page.get_by_role("button", name="Sign in as staff").click()
    clerk.page.get_by_role("button", name="New exam").click()
    assert clerk.page.locator("#mock_exam_name").input_value() == "Typed before"
    clerk.faults.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_part_has_its_name_and_place_and_can_be_read(clerk: Visitor, scheme: str):
    clerk.page.emulate_media(color_scheme=scheme)
    clerk.page.set_viewport_size({"width": 320, "height": 640})
    card = make(clerk, f"Seen in the {scheme}")
    press(card, "Bookings")
    book(clerk, somebody(clerk, 7 if scheme == "light" else 6))
    clerk.page.locator("#roster-list .card").wait_for()
    for opened in (None, "New exam", "Book a student"):
        if opened:
            clerk.page.get_by_role("button", name=opened).click()
        assert clerk.page.evaluate(FAULTS_OF_THE_PAGE) == []
        assert clerk.page.evaluate(LOW_CONTRAST) == []
        assert clerk.page.evaluate("document.documentElement.scrollWidth") <= 320
        clerk.page.keyboard.press("Escape")


def test_a_count_that_changes_leaves_the_keyboard_where_it_was(clerk: Visitor):
    card = make(clerk, "Under the finger")
    card.get_by_role("button", name=re.compile("^Edit")).focus()
    held = card.get_attribute("data-exam")
    wish = {"examId": held, "contactId": somebody(clerk, 5)}
    clerk.page.request.post(f"{clerk.site}/api/bookings/create", data=wish, headers={"Origin": clerk.site})
    card.locator(".state", has_text="1 of 3").wait_for()
    assert clerk.page.evaluate("[document.activeElement.dataset.exam, document.activeElement.dataset.does]") == [
        held,
        "Edit",
    ]


MOMENTS = [
    ("America/Toronto", "2031-03-05T09:00", "2031-03-05T14:00:00.000Z"),
    ("America/Toronto", "2031-07-05T09:00", "2031-07-05T13:00:00.000Z"),
    ("America/Toronto", "2031-03-09T01:59", "2031-03-09T06:59:00.000Z"),
    ("America/Toronto", "2031-03-09T03:00", "2031-03-09T07:00:00.000Z"),
    ("Asia/Kolkata", "2031-03-05T00:15", "2031-03-04T18:45:00.000Z"),
]


def test_an_opening_is_a_moment_of_the_schools_clock(clerk: Visitor):
    there = "async ([zone, local]) => (await import('/static/exam-form.js')).instantIn(zone, local)"
    back = "async ([zone, instant]) => (await import('/static/exam-form.js')).localIn(zone, instant)"
    for zone, local, instant in MOMENTS:
        assert clerk.page.evaluate(there, [zone, local]) == instant
        assert clerk.page.evaluate(back, [zone, instant]) == local


def test_nothing_comes_from_another_host_and_text_is_never_markup(clerk: Visitor):
    asked: list[str] = []
    clerk.page.on("request", lambda request: asked.append(request.url))
    make(clerk, "<img src=x onerror=alert(1)>")
    assert clerk.page.locator("#desk img").count() == 0
    assert [url for url in asked if not url.startswith(clerk.site)] == []


def test_a_link_for_staff_leads_to_this_page(clerk: Visitor):
    [cookie] = clerk.page.context.cookies()
    clerk.page.goto(f"{clerk.site}/sign-in#token={cookie['value']}")
    clerk.page.wait_for_url(f"{clerk.site}/admin")
    clerk.page.locator("#exams-list .card").first.wait_for()
    clerk.faults.clear()  # what was under way when the page was left

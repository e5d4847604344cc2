"""What makes the page usable by everybody: names, headings, contrast, small screens, slow and broken networks."""

import re

import pytest
from playwright.sync_api import Browser, Route

from tests.browser.conftest import Visitor

# Everything that a tool for accessibility looks at first, by hand: returns sentences, empty when all is well.
FAULTS_OF_THE_PAGE = """() => {
  const faults = [];
  const shown = (e) => e.checkVisibility();
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  let last = 0;
  for (const h of [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].filter(shown)) {
    const level = Number(h.tagName[1]);
    if (level > last + 1) faults.push(`h${last} is followed by h${level} ${h.textContent}`);
    if (!h.textContent.trim()) faults.push("an empty heading");
    last = level;
  }
  for (const e of document.querySelectorAll("input,select,textarea")) {
    if (!e.labels?.length) faults.push(`${e.id || e.name} has no label`);
  }
  const names = new Map();
  for (const e of document.querySelectorAll("button,a")) {
    if (!e.textContent.trim()) faults.push(`a ${e.tagName} without a name`);
    if (e.closest(".card")) names.set(e.textContent, (names.get(e.textContent) ?? 0) + 1);
  }
  for (const [name, count] of names) if (count > 1) faults.push(`${count} buttons are called ${name}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) faults.push("an id stands twice");
  for (const e of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(e.getAttribute("aria-labelledby"))) faults.push("a label points nowhere");
  }
  if (!document.querySelector("[role=status][aria-live]")) faults.push("no live region");
  for (const e of [...document.querySelectorAll("main button, main select, header button")].filter(shown)) {
    if (e.getBoundingClientRect().height < 44) faults.push(`${e.textContent} is lower than a finger`);
  }
  return faults;
}"""

# WCAG contrast of every shown text against the nearest background; returns those under 4.5.
LOW_CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const color = rgb(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.closest("noscript,script")) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(1)}`);
  }
  return low;
}"""


def test_every_part_has_its_name_and_place(visitor: Visitor):
    visitor.arrive()
    assert visitor.page.evaluate(FAULTS_OF_THE_PAGE) == []
    visitor.sign_in(9)
    visitor.card("Mock Discussion", 2).get_by_role("button").click()
    visitor.says("You are booked")
    visitor.page.locator("#mine-list .card").wait_for()
    assert visitor.page.evaluate(FAULTS_OF_THE_PAGE) == []


def test_the_check_for_names_sees_a_nameless_field(visitor: Visitor):
    visitor.arrive()
    visitor.page.evaluate("document.querySelector('label[for=sample]').remove()")
    assert visitor.page.evaluate(FAULTS_OF_THE_PAGE) == ["sample has no label"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visitor: Visitor, scheme: str):
    visitor.page.emulate_media(color_scheme=scheme)
    visitor.arrive()
    assert visitor.page.evaluate(LOW_CONTRAST) == []
    visitor.page.evaluate("document.querySelector('.total').style.color = '#888'")
    assert len(visitor.page.evaluate(LOW_CONTRAST)) == (1 if scheme == "light" else 0)


def test_a_small_phone_needs_no_sideways_scrolling(visitor: Visitor):
    visitor.page.set_viewport_size({"width": 320, "height": 640})
    visitor.arrive()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_nothing_comes_from_another_host(visitor: Visitor):
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.arrive()
    assert asked
    assert [url for url in asked if not url.startswith(visitor.site)] == []
    assert visitor.faults == []


def test_a_page_without_a_stream_asks_with_its_etag_and_hears_not_modified(visitor: Visitor):
    # Not by a route: a browser that is watched in that way keeps no answers.
    visitor.page.add_init_script("window.EventSource = class extends EventTarget { close() {} }")
    visitor.arrive()
    with visitor.page.expect_response("**/api/mock-exams/available") as second:
        pass
    assert "if-none-match" in second.value.request.all_headers()


def test_without_scripts_the_page_says_what_to_do(browser: Browser, site: str):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site)
    assert "Booking needs JavaScript" in page.locator("main").inner_text()
    assert "Loading" not in page.locator("main").inner_text()
    context.close()


def test_a_broken_network_is_told_and_overcome(visitor: Visitor):
    broken = True

    def sometimes(route: Route) -> None:
        if broken:
            route.abort()
        else:
            route.continue_()

    visitor.page.route("**/api/mock-exams/available", sometimes)
    visitor.page.goto(visitor.site)
    visitor.page.locator("#sessions-state", has_text="could not be loaded").wait_for()
    broken = False
    visitor.page.locator("#days .card").first.wait_for()
    assert visitor.page.locator("#sessions-state").inner_text() == ""


def test_a_session_that_cannot_be_asked_for_at_first_is_asked_for_again(visitor: Visitor):
    asked: list[str] = []

    def lose_the_first(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.abort()
        else:
            route.continue_()

    visitor.page.route("**/api/session", lose_the_first)
    visitor.page.goto(visitor.site)
    visitor.says("Trying again")
    visitor.page.locator("#sample-form").wait_for()
    assert visitor.notice == ""


def test_an_empty_notice_is_a_live_region_already(visitor: Visitor):
    visitor.arrive()
    assert visitor.notice == ""
    assert visitor.page.get_by_role("status").count() == 1


def test_when_a_session_opens_is_told_in_the_schools_time_wherever_the_student_is(browser: Browser, site: str):
    def announced(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["exams"][0] |= {"bookable": False, "opens_at": "2031-03-05T17:00:00Z"}
        route.fulfill(response=answer, json=body)

    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.route("**/api/mock-exams/available", announced)
    page.goto(site)
    page.locator("#days .card button", has_text=re.compile(r"Opens .*Mar.* 5.*12:00.*(EST|GMT-5)")).first.wait_for()
    context.close()


def test_text_from_the_server_is_never_markup(visitor: Visitor):
    def evil(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["exams"][0]["mock_type"] = "<img src=x onerror=alert(1)>"
        body["exams"][0]["location"] = "<b>bold</b>"
        route.fulfill(response=answer, json=body)

    visitor.page.route("**/api/mock-exams/available", evil)
    visitor.arrive()
    assert visitor.page.locator("#days h4").first.inner_text() == "<img src=x onerror=alert(1)>"
    assert visitor.page.locator("#days img, #days b").count() == 0
    assert visitor.faults == []

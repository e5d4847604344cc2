"""One demo and one Chromium for all, a fresh visitor for each test; every message on the console is kept."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

START_S = 120.0
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of a demo of its own, on a free port, in a folder of its own."""
    # Not pytest's own folder: for root that one is closed to the user that the embedded Postgres runs as.
    with TemporaryDirectory(prefix="lastseat-browser-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield from _demo(folder)


def _demo(folder: Path) -> Iterator[str]:
    log = folder / "demo.log"
    environment = {**os.environ, "LASTSEAT_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", "lastseat", "demo", "--no-rush", "--students", "30"]
    with log.open("w") as out:
        demo = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        yield _address(demo, log)
    finally:
        if demo.poll() is None:
            demo.send_signal(signal.SIGINT)
        demo.wait(timeout=30)


def _address(demo: subprocess.Popen[bytes], log: Path) -> str:
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found[0]
        if demo.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"the demo did not open:\n{log.read_text()}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Visitor:
    """A page with what went wrong on it, and the steps that many tests share."""

    def __init__(self, page: Page, site: str) -> None:
        self.page = page
        self.site = site
        self.faults: list[str] = []
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("requestfailed", self._failed)

    def _failed(self, request: Request) -> None:
        # The page hangs up its stream when somebody else signs in, or when nobody looks at it.
        if not (request.url.endswith("/api/events") and request.failure == "net::ERR_ABORTED"):
            self.faults.append(f"{request.url}: {request.failure}")

    @property
    def notice(self) -> str:
        return self.page.locator("#notice").inner_text()

    def arrive(self) -> None:
        self.page.goto(self.site)
        self.page.locator("#days .card").first.wait_for()

    def sign_in(self, number: int) -> None:
        """As the sample student of this number."""
        self.page.locator("#sample option").nth(number).wait_for(state="attached")
        self.page.locator("#sample").select_option(index=number)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("#mine-state", has_text="You have no bookings yet.").wait_for()

    def card(self, kind: str, number: int = 0):
        """A session of this type."""
        return self.page.locator("#days .card", has=self.page.locator("h4", has_text=kind)).nth(number)

    def says(self, text: str) -> None:
        """Wait until the live notice holds this text."""
        self.page.locator("#notice", has_text=text).wait_for(timeout=10_000)


@pytest.fixture
def visitor(browser: Browser, site: str) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    visitor = Visitor(context.new_page(), site)
    visitor.page.set_default_timeout(10_000)
    yield visitor
    context.close()

"""Somebody with a browser: opens pages, reads mail, and looks closely at every page on the way."""

from __future__ import annotations

import base64
import hmac
import os
import re
import struct
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from tests.end_to_end.mail_reader import read
from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink
from tests.services.site import Site

# Where screenshots go; without it none are made.
SCREENSHOTS = os.environ.get("COURANT_SCREENSHOTS", "")
# At the last a table has just become one again.
WIDE, NARROW, NARROWEST, MIDDLE = 1280, 360, 320, 840
# Each visible thing that can be worked with, named as far as it has a name; radio buttons of a group are one stop.
REACHABLE = """() => {
    const first = (it, state = "") => document.querySelector(`[name="${it.name}"]${state}`);
    const group = (it) => first(it, ":checked") ?? first(it);
    return [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
        .filter((it) => !it.disabled && it.type !== "hidden" && it.checkVisibility({visibilityProperty: true}))
        .filter((it) => it.type !== "radio" || it === group(it))
        .map((it, number) => { it.dataset.stop = number; return it.outerHTML.slice(0, 120); });
}"""
FOCUSED = """() => { const it = document.activeElement, style = getComputedStyle(it);
    return [it.dataset.stop ?? "", style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0]; }"""
SECONDS_OF_A_CODE = 30


class Visitor:
    """One person in one browser profile.

    Whatever the browser complains about, and every request to another host, is kept in `troubles` and fails the
    test when the visitor leaves.
    """

    def __init__(
        self, browser: Browser, *, site: Site, sink: SmtpSink, looked_at: set[tuple[str, bool]], scripts: bool = True
    ) -> None:
        self.address = site.environment["BASE_URL"]
        self.scripts = scripts
        self.troubles: list[str] = []
        self._sink = sink
        self._read_mails = sink.count()
        self._looked_at = looked_at
        self._context = browser.new_context(
            base_url=self.address, java_script_enabled=scripts, viewport={"width": WIDE, "height": 900}
        )
        self._context.set_default_timeout(180_000)
        self.page: Page = self._context.new_page()
        self._context.on("console", self._note_message)
        self._context.on("weberror", lambda error: self.troubles.append(f"script failed: {error.error}"))
        self._context.on("request", self._note_request)

    def _note_message(self, message: ConsoleMessage) -> None:
        # The browser reports every error status of a page; tests ask for some.
        if message.type in ("error", "warning") and "the server responded with a status of" not in message.text:
            self.troubles.append(f"console: {message.text}")

    def _note_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.address:
            self.troubles.append(f"request to {request.url}")

    def leave(self) -> None:
        """Close the browser profile, and fail if the browser complained."""
        self._context.close()
        assert self.troubles == []

    # --- moving about ---------------------------------------------------------
    def open(self, path: str) -> int:
        """Open a page of the site and return its status."""
        response = self.page.goto(path)
        assert response is not None
        return response.status

    def path(self) -> str:
        return urlsplit(self.page.url).path

    def press(self, name: str, *, exact: bool = True) -> None:
        """Press the only button of this name in the page's main part, or else anywhere."""
        inside = self.page.locator("main").get_by_role("button", name=name, exact=exact)
        (inside if inside.count() else self.page.get_by_role("button", name=name, exact=exact)).click()
        self.page.wait_for_load_state()

    def follow(self, name: str, *, exact: bool = True) -> None:
        self.page.get_by_role("link", name=name, exact=exact).click()
        self.page.wait_for_load_state()

    def fill(self, **fields: str) -> None:
        """Fill in fields by the names that forms know them by."""
        for name, value in fields.items():
            self.page.locator(f'main [name="{name}"]:visible').fill(value)

    def choose(self, label: str) -> None:
        """Choose a radio button."""
        self.page.get_by_role("radio", name=label).check()

    def tick(self, label: str) -> None:
        self.page.get_by_role("checkbox", name=label).check()

    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def link_in_mail(self, to: str, part: str) -> str:
        """Wait for the next mail to an address and return its only link that holds `part`, as a path."""
        found: list[str] = []

        def arrived() -> bool:
            for number, mail in enumerate(self._sink.mails()):
                text = read(mail.data).leaf("text/plain").text
                links = re.findall(rf"{self.address}(/\S*{part}\S*)", text)
                if number >= self._read_mails and mail.recipient == to and links:
                    self._read_mails = number + 1
                    found.extend(links)
                    return True
            return False

        wait_until(arrived, f"a mail with {part} to {to}", seconds=300, pause=0.1)
        (link,) = set(found)
        return link

    def code(self, key: str) -> str:
        """Return what an authenticator app shows for a key (RFC 6238), with some seconds left to enter it."""
        left = SECONDS_OF_A_CODE - time.time() % SECONDS_OF_A_CODE
        if left < 5:
            time.sleep(left)
        moment = struct.pack(">Q", int(time.time() // SECONDS_OF_A_CODE))
        digest = hmac.digest(base64.b32decode(key), moment, "sha1")
        (number,) = struct.unpack_from(">I", digest, digest[-1] & 0xF)
        return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"

    def enter_code(self, key: str, button: str) -> None:
        """Enter what an authenticator app shows, and again if it shows something else before the page is answered."""
        while True:
            code = self.code(key)
            moment = time.time() // SECONDS_OF_A_CODE
            self.fill(code=code)
            self.press(button)
            refused = self.page.locator('main [name="code"]').count()
            if not refused or time.time() // SECONDS_OF_A_CODE == moment:
                return

    def virtual_authenticator(self) -> Any:
        """Give the browser a device that makes passkeys and agrees to everything; returns its connection."""
        device = self._context.new_cdp_session(self.page)
        device.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return device

    # --- looking closely ------------------------------------------------------
    def look(self, name: str) -> None:
        """Check the page the visitor is on, once for each `name` with and without scripts, and take its pictures."""
        if (name, self.scripts) in self._looked_at:
            return
        self._looked_at.add((name, self.scripts))
        assert self.page.title().strip(" ·") not in ("", "Courant"), name
        self._check_widths(name)
        if self.scripts:
            self._check_keyboard(name)
            self._check_access(name, color_scheme="light")
            self._check_access(name, color_scheme="dark")
        self._take_pictures(name)
        self._resize(WIDE)

    def _resize(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})

    def _check_widths(self, name: str) -> None:
        for width in (NARROWEST, NARROW, MIDDLE):
            self._resize(width)
            needed = self.page.evaluate("document.documentElement.scrollWidth")
            assert needed <= width, f"{name} needs {needed} pixels where there are {width}"

    def _check_keyboard(self, name: str) -> None:
        """Every visible thing is reached with the Tab key, and shows that it was."""
        stops = self.page.evaluate(REACHABLE)
        self.page.evaluate("document.activeElement.blur()")
        reached, unseen = set(), set()
        for _ in range(len(stops) + 5):
            self.page.keyboard.press("Tab")
            stop, is_seen = self.page.evaluate(FOCUSED)
            reached.add(stop)
            if stop and not is_seen:
                unseen.add(stop)
        missed = [what for number, what in enumerate(stops) if str(number) not in reached]
        assert not missed, f"{name}: the Tab key does not reach {missed}"
        assert not unseen, f"{name}: no sign of the focus on {[stops[int(stop)] for stop in unseen]}"
        self.page.evaluate("document.activeElement.blur()")

    def _check_access(self, name: str, *, color_scheme: Any) -> None:
        """Run axe; the wide page in the dark, the narrow one in the light."""
        self._resize(NARROW if color_scheme == "light" else WIDE)
        self.page.emulate_media(color_scheme=color_scheme)
        found = Axe().run(self.page)
        assert found.violations_count == 0, f"{name}, {color_scheme}: {found.generate_report()}"

    def _take_pictures(self, name: str) -> None:
        if not SCREENSHOTS:
            return
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        schemes: tuple[Any, Any] = ("light", "dark")
        for color_scheme in schemes:
            self.page.emulate_media(color_scheme=color_scheme)
            for width in (NARROW, WIDE):
                self._resize(width)
                self.page.screenshot(path=folder / f"{name}-{width}-{color_scheme}.png", full_page=True)

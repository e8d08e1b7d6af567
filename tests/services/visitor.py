"""Somebody with a browser without JavaScript: cookies are kept, and forms are sent with their CSRF token."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request

from tests.services.site import Answer

TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]+)"')


class Visitor:
    """A visitor of the site at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def open(self, path: str, fields: dict[str, str] | None = None) -> Answer:
        """Open a page, following redirects; with `fields` they are posted. An error status is an answer like any."""
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        headers = {"Origin": self.address, "Referer": f"{self.address}{path}"}
        request = urllib.request.Request(f"{self.address}{path}", data=data, headers=headers)  # noqa: S310
        try:
            with self._opener.open(request, timeout=180) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def submit(self, path: str, **fields: str) -> Answer:
        """Open a page and send the form on it."""
        found = TOKEN.search(self.open(path).body)
        token = {"csrfmiddlewaretoken": found[1].decode()} if found else {}
        return self.open(path, fields | token)

    def sign_up(self, email: str, password: str) -> Answer:
        """Sign up on the page for it."""
        return self.submit("/account/signup/", email=email, name="A visitor", password1=password)

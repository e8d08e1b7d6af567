"""T19: who has asked too often is told when to come back, and is let in then and not before."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.core.internal import ratelimit
from django.test import Client

from accounts.doors import limits
from tests import cast
from tests.accounts.doors import ZOE, App, post
from tests.admin.desks import sit_down

pytestmark = [pytest.mark.django_db, pytest.mark.dialects, pytest.mark.usefixtures("nothing_counted")]
WRONG = "a wrong pass phrase"


class Clock(SimpleNamespace):
    """A clock that a test sets ahead."""

    def __init__(self) -> None:
        super().__init__(monotonic=time.monotonic, ahead=0.0)
        self._began = time.time()

    def time(self) -> float:
        return float(self._began + self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ratelimit, "time", made)
    monkeypatch.setattr(limits, "time", made)
    return made


def acts() -> dict[str, Callable[[], Any]]:
    """Return what somebody may do too often, on pages and in JSON."""
    inside, app = sit_down(cast.make_user(ZOE)), App()
    inside_app = App()
    inside_app.token = inside.session.session_key or ""
    return {
        "page for anybody": lambda: post(Client(), "account_reset_password", email=ZOE),
        "page within": lambda: post(inside, "account_reauthenticate", password=WRONG),
        "program for anybody": lambda: app.post("auth/password/request", email=ZOE),
        "program within": lambda: inside_app.call("DELETE", "account/email", {"email": "x"}),
    }


@pytest.mark.parametrize("limit", ["3/90s", "3/10m", "2/1h", "20/m,3/10m"])
@pytest.mark.parametrize("where", ["page for anybody", "page within", "program for anybody", "program within"])
def test_who_comes_back_when_told_is_let_in_and_not_before(settings: Any, clock: Clock, limit: str, where: str) -> None:
    rates = ",".join(f"{rate}/ip" for rate in limit.split(","))
    settings.ACCOUNT_RATE_LIMITS = dict.fromkeys(("reset_password", "reauthenticate", "manage_email"), rates)
    settings.ACCOUNT_RATE_LIMITS["login_failed"] = None
    act, begun = acts()[where], 0
    while (answer := act()).status_code != 429:
        clock.ahead += 7
        begun += 1
    assert begun == int(limit[-len("3/10m") :].partition("/")[0])
    wait = int(answer["Retry-After"])
    clock.ahead += wait - 1.5
    assert act()["Retry-After"] == "2"
    clock.ahead += 1.5
    assert act().status_code != 429


def test_an_answer_of_another_request_is_not_told(settings: Any, clock: Clock) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"reset_password": "3/10m/key", "login": "1/1h/ip"}
    for _ in range(2):
        refused = post(Client(), "account_login", login=ZOE, password=WRONG)
    assert refused["Retry-After"] == "3600"
    for _ in range(4):
        refused = post(Client(), "account_reset_password", email=ZOE)
    assert refused["Retry-After"] == "600"

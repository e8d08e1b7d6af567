"""Sign-up while the broker or the relay is dead, and a worker that dies with the mail: the link arrives and works."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable

import pytest

from tests.cast import ADA, PASSWORD
from tests.faults.stage import Stage
from tests.services.processes import wait_until
from tests.services.site import Answer
from tests.services.visitor import Visitor

# How long a reply is awaited: longer than a busy test takes to kill the worker that awaits one. A lease lasts twelve of
# these.
EMAIL_SECONDS = 30
ARRIVES_SECONDS = 300
# As if the lease's minutes had gone by.
LEASE_ENDS = "UPDATE accounts_accountmail SET lease_until = now() WHERE state = 'sending'"
Open = Callable[[], Stage]


@pytest.fixture
def open_site(make_stage: Callable[..., Stage]) -> Open:
    """Return a maker of stages on which everybody may sign up."""
    return lambda: make_stage(workers=1, SIGN_UP="open", EMAIL_TIMEOUT=str(EMAIL_SECONDS))


def sign_up(stage: Stage) -> Answer:
    answer = Visitor(stage.site.address).sign_up(ADA, PASSWORD)
    assert answer.status == 200, answer.body
    assert stage.query("SELECT count(*) FROM accounts_user WHERE email = %s", ADA) == [(1,)]
    return answer


def links(stage: Stage) -> list[str]:
    """Return the path of the link in each mail that arrived, checked to be to the one who signed up."""
    found = []
    for mail in stage.sink.mails():
        assert mail.recipient == ADA
        body = email.message_from_bytes(mail.data, policy=email.policy.default).get_body(("plain",))
        assert body is not None
        _, page, rest = body.get_content().partition(f"\r\n{stage.site.address}/account/confirm-email/")
        assert page
        found.append(f"/account/confirm-email/{rest.split()[0]}")
    return found


def use(stage: Stage, link: str) -> None:
    """Verify the address by a link, in a browser that knows nothing of the sign-up."""
    assert stage.query("SELECT verified FROM account_emailaddress WHERE email = %s", ADA) == [(False,)]
    Visitor(stage.site.address).submit(link)
    assert stage.query("SELECT verified FROM account_emailaddress WHERE email = %s", ADA) == [(True,)]


def wait_for_links(stage: Stage, count: int) -> list[str]:
    stage.wait_for_mails(count, seconds=ARRIVES_SECONDS)
    settled = "SELECT count(*) FROM accounts_accountmail WHERE state = 'sent'"
    wait_until(lambda: stage.query(settled) == [(1,)], "it is recorded", seconds=ARRIVES_SECONDS)
    # A second copy would come by now.
    stage.rest(seconds=1)
    return links(stage)


def test_one_link_arrives_when_the_broker_was_dead_at_sign_up(open_site: Open) -> None:
    stage = open_site()
    stage.broker.kill()
    sign_up(stage)
    stage.rest(seconds=3)
    assert stage.sink.count() == 0
    stage.broker.start()
    (link,) = wait_for_links(stage, 1)
    use(stage, link)
    assert stage.query("SELECT kind, state, uncertain FROM accounts_accountmail") == [("verify_address", "sent", False)]


def test_one_link_arrives_when_the_relay_was_dead_at_sign_up(open_site: Open) -> None:
    stage = open_site()
    stage.sink.kill()
    try:
        sign_up(stage)
        refused = "SELECT count(*) FROM accounts_accountmail WHERE state = 'queued' AND last_reply <> ''"
        wait_until(lambda: stage.query(refused) == [(1,)], "the relay was tried", seconds=ARRIVES_SECONDS)
    finally:
        stage.sink.start()
    (link,) = wait_for_links(stage, 1)
    use(stage, link)
    assert stage.query("SELECT state, attempts, uncertain FROM accounts_accountmail") == [("sent", 1, False)]


def test_a_second_link_is_flagged_when_the_worker_was_killed_between_intent_and_reply(open_site: Open) -> None:
    stage = open_site()
    stage.sink.script({ADA: {"delay": EMAIL_SECONDS, "times": 1}})
    sign_up(stage)
    stage.wait_for_mails(1)
    stage.kill_worker()
    assert stage.query("SELECT state, intent_at IS NULL, uncertain FROM accounts_accountmail") == [
        ("sending", False, False)
    ]
    stage.query(LEASE_ENDS)
    first, second = wait_for_links(stage, 2)
    assert len({mail.message_id for mail in stage.sink.mails()}) == 1
    assert stage.query("SELECT state, uncertain, kills FROM accounts_accountmail") == [("sent", True, 1)]
    assert first != second
    use(stage, second)

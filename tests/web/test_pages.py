from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from pytest_django.fixtures import Settings

from core.tokens import make_token
from newsletters.audience.subscribing import erase_subscriber, subscribe, unsubscribe
from newsletters.models import ConsentEvent, Newsletter, Notice, SenderIdentity, Subscription, SubscriptionState
from tests import cast

pytestmark = pytest.mark.django_db
PENDING, ACTIVE, UNSUBSCRIBED = SubscriptionState.PENDING, SubscriptionState.ACTIVE, SubscriptionState.UNSUBSCRIBED
EIGHT_DAYS = 8 * 24 * 3600
ONE_CLICK: dict[str, Any] = {"data": "List-Unsubscribe=One-Click", "content_type": "application/x-www-form-urlencoded"}


@pytest.fixture(autouse=True)
def unhashed_static_files(settings: Settings) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": plain}


@pytest.fixture
def browser() -> Client:
    """Return a client that sends no cookies and would be stopped by any demand for a CSRF token."""
    return Client(enforce_csrf_checks=True)


def pending(newsletter: Newsletter | None = None) -> Subscription:
    newsletter = newsletter or cast.make_newsletter()
    subscription = subscribe(newsletter, address=cast.ADA, consent_source="a test", confirmed=False)
    # A link is made some time after the request.
    Subscription.objects.filter(pk=subscription.pk).update(changed_at=Now() - timedelta(days=30))
    return subscription


def link(purpose: str, pk: int, *, age: int = 0) -> str:
    letter = {"confirm": "c", "unsubscribe": "u", "verify-sender": "v"}[purpose]
    return f"/{letter}/{make_token(purpose, pk, issued=int(time.time()) - age)}"


def state_of(subscription: Subscription) -> str:
    return Subscription.objects.get(pk=subscription.pk).state


def body(response: Any) -> str:
    text: str = response.content.decode()
    return text


def press(browser: Client, path: str) -> Any:
    """Open a page and press its only button."""
    (form,) = re.findall(r'<form[^>]*method="post"[^>]*>', body(browser.get(path)))
    action = re.search(r'action="([^"]*)"', form)
    target = action[1] if action else path
    return browser.post(path + target if target.startswith("?") else target)


def test_opening_the_confirmation_page_changes_nothing_and_its_button_confirms(browser: Client) -> None:
    subscription = pending()
    path = link("confirm", subscription.pk)
    page = browser.get(path)
    assert page.status_code == 200
    assert cast.ADA in body(page)
    assert state_of(subscription) == PENDING
    done = press(browser, path)
    assert (done.status_code, state_of(subscription)) == (200, ACTIVE)
    assert "You are subscribed" in body(done)
    again = browser.post(path)
    assert (again.status_code, body(again)) == (200, body(done))
    assert ConsentEvent.objects.filter(state=ACTIVE).count() == 1


def test_an_expired_confirmation_link_is_gone_and_offers_a_new_one(browser: Client) -> None:
    subscription = pending()
    Notice.objects.update(created_at=Now() - timedelta(days=8))
    path = link("confirm", subscription.pk, age=EIGHT_DAYS)
    assert browser.get(path).status_code == 410
    assert browser.post(path).status_code == 410
    assert state_of(subscription) == PENDING
    asked = press(browser, path)
    assert asked.status_code == 200
    assert "look into your mail" in body(asked)
    assert press(browser, path).status_code == 200
    assert Notice.objects.count() == 2
    assert state_of(subscription) == PENDING


def test_an_expired_link_of_a_reader_who_confirmed_still_says_so(browser: Client) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    assert browser.get(link("confirm", subscription.pk, age=EIGHT_DAYS)).status_code == 200


def test_confirming_after_leaving_does_not_bring_the_reader_back(browser: Client) -> None:
    subscription = pending()
    unsubscribe(subscription.pk, source="api")
    path = link("confirm", subscription.pk, age=60)
    assert browser.get(path).status_code == 410
    assert browser.post(path).status_code == 410
    assert state_of(subscription) == UNSUBSCRIBED


def test_a_link_made_before_leaving_confirms_no_later_request(browser: Client) -> None:
    newsletter = cast.make_newsletter()
    subscription = pending(newsletter)
    unsubscribe(subscription.pk, source="api")
    subscribe(newsletter, address=cast.ADA, consent_source="a test", confirmed=False)
    assert browser.post(link("confirm", subscription.pk, age=3600)).status_code == 410
    assert state_of(subscription) == PENDING


@pytest.mark.parametrize("how", ["get", "head", "options"])
def test_looking_at_the_unsubscribe_page_a_hundred_times_changes_nothing(browser: Client, how: str) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    path = link("unsubscribe", subscription.pk)
    for _ in range(100):
        response = getattr(browser, how)(path, HTTP_PURPOSE="prefetch", HTTP_SEC_PURPOSE="prefetch;prerender")
        assert response.status_code == (405 if how == "options" else 200)
    assert state_of(subscription) == ACTIVE
    assert ConsentEvent.objects.count() == 1


def test_a_mail_program_unsubscribes_with_one_click(browser: Client) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    path = link("unsubscribe", subscription.pk, age=10 * 365 * 24 * 3600)
    for _ in range(2):
        response = browser.post(path, **ONE_CLICK)
        assert (response.status_code, state_of(subscription)) == (200, UNSUBSCRIBED)
        assert not response.cookies
        assert "Location" not in response.headers
    event = ConsentEvent.objects.get(state=UNSUBSCRIBED)
    assert event.source == "one_click"


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ("", "text/plain"),
        ("--x\r\nbroken", "multipart/form-data; boundary=x"),
        ("List-Unsubscribe=One-Click&" + "a=b&" * 2_000, "application/x-www-form-urlencoded"),
        ("x" * 3_000_000, "application/x-www-form-urlencoded"),
        (
            '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
    ],
)
def test_whatever_a_mail_program_writes_into_the_body_the_reader_is_unsubscribed(
    browser: Client, data: str, content_type: str
) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    response = browser.post(link("unsubscribe", subscription.pk), data=data, content_type=content_type)
    assert (response.status_code, state_of(subscription)) == (200, UNSUBSCRIBED)


def test_the_button_unsubscribes_without_a_cookie(browser: Client) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    done = press(browser, link("unsubscribe", subscription.pk))
    assert "You are unsubscribed" in body(done)
    assert not done.cookies
    assert state_of(subscription) == UNSUBSCRIBED
    assert ConsentEvent.objects.get(state=UNSUBSCRIBED).source == "unsubscribe_page"


def test_who_left_by_mistake_asks_again_and_has_to_confirm(browser: Client) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    path = link("unsubscribe", subscription.pk)
    browser.post(path, **ONE_CLICK)
    assert browser.get(f"{path}/again").status_code == 405
    for _ in range(3):
        assert "look into your mail" in body(browser.post(f"{path}/again"))
        assert state_of(subscription) == PENDING
        browser.post(path, **ONE_CLICK)
    assert Notice.objects.count() == 1


def test_a_reader_who_was_erased_is_told_to_be_unsubscribed(browser: Client) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    path, confirmation = link("unsubscribe", subscription.pk), link("confirm", subscription.pk)
    erase_subscriber(subscription.subscriber)
    for response in (browser.get(path), browser.post(path, **ONE_CLICK)):
        assert response.status_code == 200
        assert "You are unsubscribed" in body(response)
    assert browser.post(f"{path}/again").status_code == 404
    assert browser.get(confirmation).status_code == 404
    assert browser.post(confirmation).status_code == 404


def test_a_deleted_newsletter_can_be_left_and_not_be_joined(browser: Client) -> None:
    newsletter = cast.make_newsletter()
    subscription = cast.make_reader(newsletter)
    newsletter.deleted_at = newsletter.created_at
    newsletter.save()
    assert browser.post(link("unsubscribe", subscription.pk), **ONE_CLICK).status_code == 200
    assert state_of(subscription) == UNSUBSCRIBED
    assert browser.get(link("confirm", subscription.pk)).status_code == 404
    assert browser.post(f"{link('unsubscribe', subscription.pk)}/again").status_code == 404


def test_the_owner_of_an_address_lets_it_be_a_sender(browser: Client) -> None:
    sender = cast.make_sender(cast.make_publisher(), verified=False)
    path = link("verify-sender", sender.pk)
    assert sender.address in body(browser.get(path))
    assert SenderIdentity.objects.get().verified_at is None
    assert "can now send" in body(press(browser, path))
    assert SenderIdentity.objects.get().verified_at is not None
    assert "can now send" in body(browser.get(path))


def test_an_expired_sender_link_verifies_nothing(browser: Client) -> None:
    sender = cast.make_sender(cast.make_publisher(), verified=False)
    path = link("verify-sender", sender.pk, age=EIGHT_DAYS)
    assert [browser.get(path).status_code, browser.post(path).status_code] == [410, 410]
    assert SenderIdentity.objects.get().verified_at is None


def test_every_link_that_is_not_ours_gets_the_same_answer(browser: Client) -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    good = make_token("unsubscribe", subscription.pk)
    flipped = good[:-1] + ("A" if good[-1] != "A" else "B")
    wrong = [good[:-1], good + "A", good + "=", good.swapcase(), flipped, "%00", "x", "a" * 100_000, "ü" * 43]
    wrong += [make_token(purpose, subscription.pk) for purpose in ("confirm", "verify-sender", "proof")]
    wrong += [make_token("unsubscribe", subscription.pk).replace("-", "+") + "+"]
    answers = {(response.status_code, response.content) for each in wrong for response in [browser.post(f"/u/{each}")]}
    answers |= {(response.status_code, response.content) for each in wrong for response in [browser.get(f"/u/{each}")]}
    answers |= {
        (response.status_code, response.content)
        for letter in "cv"
        for response in [browser.post(f"/{letter}/{good}"), browser.get(f"/{letter}/{good}")]
    }
    answers.add((404, browser.get(link("verify-sender", 4711)).content))
    assert len(answers) == 1
    assert answers.pop()[0] == 404
    assert state_of(subscription) == ACTIVE


def test_every_page_keeps_its_address_to_itself(browser: Client, settings: Settings) -> None:
    newsletter = cast.make_newsletter(name='<script>alert("1")</script>')
    subscription = cast.make_reader(newsletter)
    sender = cast.make_sender(newsletter.publisher, address="desk@gazette.example", verified=False)
    pages = [
        link("confirm", subscription.pk),
        link("unsubscribe", subscription.pk),
        link("verify-sender", sender.pk),
        link("verify-sender", sender.pk, age=EIGHT_DAYS),
        "/u/x",
    ]
    for path in pages:
        response = browser.get(path)
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in response.headers["X-Robots-Tag"]
        assert "no-store" in response.headers["Cache-Control"]
        assert response.headers["X-Frame-Options"] == "DENY"
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self';")
        assert "script" not in body(response).replace("&lt;script&gt;", "").replace("&lt;/script&gt;", "")
        assert "style=" not in body(response)
        assert set(re.findall(r'(?:href|src)="([^"]*)"', body(response))) == {
            f"/{settings.STATIC_URL.strip('/')}/courant/pages.css"
        }
        assert not response.cookies

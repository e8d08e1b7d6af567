"""What never reaches the log, whatever it stands in."""

from __future__ import annotations

import logging
from urllib.parse import quote, unquote

import pytest
from django.core import signing
from django.test import Client

from core.logs import redact
from core.tokens import make_token
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("page", ["c", "u", "v"])
@pytest.mark.parametrize("mangled", ["{}", "{}=", "{}.", "{})", "{}A", "{}\x00", "x{}", "{}/again", "{}, see", "<{}>"])
def test_a_token_in_a_mangled_link_is_not_logged(page: str, mangled: str) -> None:
    token = make_token("unsubscribe", 7)
    event = redact(None, "info", {"event": f"Not Found: /{page}/{mangled.format(token)}"})
    assert token not in event["event"]
    assert event["event"].startswith(f"Not Found: /{page}/[secret]")


def test_a_token_elsewhere_is_not_logged() -> None:
    token = make_token("unsubscribe", 7)
    for text in (f"https://news.example.org/x/{token}.", f"/{token}", f"'/{token}'"):
        assert token not in redact(None, "info", {"event": text})["event"]


@pytest.mark.parametrize("path", ["/account/confirm-email/{}/", "/account/password/reset/key/{}/"])
@pytest.mark.parametrize("secret", ["MTA:1wabcd:x9_-Zz0123456789abcdef", "1-d5xyz9-0123456789abcdef0123456789abcdef"])
def test_links_of_accounts_are_not_logged(path: str, secret: str) -> None:
    event = redact(None, "info", {"event": f"Internal Server Error: {path.format(secret)}"})
    assert event["event"] == f"Internal Server Error: {path.format('[secret]')}"


LINKS = {
    "invitation": ("/invitations/{}", make_token("invitation", 7)),
    "mangled invitation": ("/invitations/{}", make_token("invitation", 7) + "=."),
    "confirm": ("/c/{}", make_token("confirm", 7)),
    "unsubscribe": ("/u/{}/again", make_token("unsubscribe", 7)),
    "sender": ("/v/{}", make_token("verify-sender", 7)),
    "verify": ("/account/confirm-email/{}/", signing.dumps(obj=7, salt="account")),
    "reset": ("/account/password/reset/key/{}/", f"1-d5xyz9-{'0123456789abcdef' * 2}"),
    "nowhere": ("/x?key={}&y=1", signing.dumps(obj=7, salt="account")),
    "no path": ("/x?token={}", make_token("invitation", 7)),
    "no reset": ("/x?key={}", f"1-d5xyz9-{'0123456789abcdef' * 2}"),
}


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


@pytest.mark.parametrize("times", [0, 1, 2, 3])
@pytest.mark.parametrize("where", ["{}", "Bad Request: /account/login/?next={}&x=1", 'Referer: "https://a.example{}"'])
@pytest.mark.parametrize("kind", LINKS)
def test_a_token_in_a_link_within_another_is_not_logged(kind: str, where: str, times: int) -> None:
    link, token = LINKS[kind]
    event = redact(None, "info", {"event": where.format(encoded(link.format(token), times))})
    assert token not in unquote(unquote(unquote(event["event"])))
    assert "[secret]" in event["event"]


def test_a_token_that_is_hidden_in_any_encoding_is_not_logged() -> None:
    token = make_token("invitation", 7)
    letters = "".join(f"%{ord(letter):02x}" for letter in f"/invitations/{token}")
    assert redact(None, "info", {"event": f"/login/?next={letters}"})["event"] == "/login/?next=/invitations/[secret]"
    assert token not in redact(None, "info", {"event": encoded(f"/invitations/{token}%", 12)})["event"]
    assert redact(None, "info", {"event": "/login/?email=zoe%40example.org"})["event"] == "[address]"


@pytest.mark.parametrize("text", ["100 % of %d", "/publishers/pub_1/invitations/new", "%2Fnewsletters%2Fweekly", "50%"])
def test_what_only_looks_encoded_stays_as_it_is(text: str) -> None:
    assert redact(None, "info", {"event": text})["event"] == text


def test_addresses_and_keys_are_not_logged() -> None:
    event = redact(None, "info", {"event": f"{cast.ADA} crnt_abcdefgh_{'x' * 43}", "address": cast.ADA})
    assert event == {"event": "[address] [secret]", "address": "[redacted]"}


def test_what_is_no_secret_stays() -> None:
    text = "Not Found: /newsletters/nl_01kaj4v4a5e8rbm3h2cw6x9d7f"
    assert redact(None, "info", {"event": text})["event"] == text


def test_a_page_that_is_not_found_reaches_the_handlers_redacted(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    token = make_token("unsubscribe", 7)
    with caplog.at_level(logging.WARNING, logger="django.request"):
        client.get(f"/u/{token}=")
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert token not in redact(None, "warning", {"event": record.getMessage()})["event"]

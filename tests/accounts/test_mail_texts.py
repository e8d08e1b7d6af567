from __future__ import annotations

import pytest
from django.conf import settings
from django.core import mail
from pytest_django.fixtures import Settings

from accounts.mailing import queue
from accounts.models import AccountMail, User
from accounts.security_events import EVENTS, GENERAL
from tests import cast
from tests.accounts.mail_acts import Kind, invite, last_message, link, person, sent

pytestmark = pytest.mark.django_db
HEADERS = {"Content-Type", "MIME-Version", "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"}
FORGED = "=?utf-8?q?Hi=0ABcc:_evil@x.co?=\r\nBcc: evil@x.co\u2028"
DETAIL = {
    "from_email": "old@example.org",
    "to_email": "new@example.org",
    "deleted_email": "old@example.org",
    "publisher": "The <Gazette>",
    "person": "Chloé",
    "address": cast.CHLOE,
    "role": "editor",
    "key": "CI",
    "ip": "192.0.2.7",
    "user_agent": "Lynx/2.9",
}


def notice(event: str, user: User | None = None, **detail: object) -> str:
    """Send a security notice and return its text."""
    user = user or person()[0]
    row = queue(Kind.SECURITY_NOTICE, to=user.email, user=user, detail={"event": event, **DETAIL, **detail})
    assert sent(row).state == "sent"
    return str(last_message().body)


def html() -> str:
    return str(last_message().alternatives[0][0])


def test_each_mail_is_plain_ascii_with_short_lines_and_no_other_header() -> None:
    user, address = person()
    invitation = invite(invited_by=user)
    for row in (
        queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address),
        queue(Kind.ADDRESS_TAKEN, to=user.email),
        queue(Kind.RESET_PASSWORD, to=user.email, user=user),
        queue(Kind.INVITATION, to=invitation.address, invitation=invitation),
        queue(Kind.SECURITY_NOTICE, to=user.email, user=user, detail={"event": "role_changed", **DETAIL}),
    ):
        assert sent(row).state == "sent"
        message = last_message().message()
        data = message.as_bytes()
        assert data.isascii()
        assert max(map(len, data.splitlines())) <= 78
        assert set(message.keys()) == HEADERS
        assert message["From"] == settings.DEFAULT_FROM_EMAIL
        assert message["Auto-Submitted"] == "auto-generated"


def test_a_mail_says_who_is_asked_for_what_and_how_long_the_link_works(settings: Settings) -> None:
    user, address = person()
    sent(queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address))
    text = str(last_message().body)
    assert user.email in text
    assert "three days" in text
    assert settings.ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS == 3
    assert "news.example.test" in text
    sent(queue(Kind.RESET_PASSWORD, to=user.email, user=user))
    assert "one hour" in str(last_message().body)
    assert settings.PASSWORD_RESET_TIMEOUT == 3_600


def test_somebody_who_signs_up_again_is_led_to_the_log_in() -> None:
    user, _ = person()
    sent(queue(Kind.ADDRESS_TAKEN, to=user.email))
    assert link() == "/account/login/"
    assert f"{settings.BASE_URL}/account/password/reset/" in str(last_message().body)


def test_an_invitation_says_who_invites_whom_to_what_as_what() -> None:
    by, _ = person()
    by.name = "Bor\r\nis <b>"
    by.save()
    invitation = invite(publisher=cast.make_publisher("Ärzte & <Co>"), invited_by=by, limited=True)
    sent(queue(Kind.INVITATION, to=invitation.address, invitation=invitation))
    text = " ".join(str(last_message().body).split())
    assert f"Bor is <b> ({by.email}) invites you to work on the newsletters of Ärzte & <Co>" in text
    assert "as editor of chosen newsletters" in text
    assert f"until 1 January 2100, 00:00 UTC, and only for {cast.CHLOE}" in text
    assert "Bor is &lt;b&gt;" in html()
    assert last_message().subject == "You are invited to Ärzte & <Co>"


def test_an_invitation_by_nobody_in_particular_can_be_read() -> None:
    invitation = invite()
    sent(queue(Kind.INVITATION, to=invitation.address, invitation=invitation))
    assert str(last_message().body).startswith("You are invited to work on the\nnewsletters of The Gazette")


def test_names_add_no_header_and_no_line() -> None:
    by, _ = person()
    by.name = FORGED[:100]
    by.save()
    invitation = invite(publisher=cast.make_publisher(FORGED[:100]), invited_by=by)
    sent(queue(Kind.INVITATION, to=invitation.address, invitation=invitation))
    notice("role_changed", by, person=FORGED, by=FORGED, publisher=FORGED)
    for message in mail.outbox:
        parsed = message.message()
        assert set(parsed.keys()) == HEADERS
        assert "=?utf-8?q?Hi" not in str(parsed["Subject"]) + str(message.body)
        assert not any(line.startswith("Bcc") for line in str(message.body).splitlines())


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_each_event_has_its_words_and_says_what_to_do(event: str) -> None:
    text = notice(event)
    assert last_message().subject == EVENTS[event].heading != GENERAL.heading
    assert "unknown" not in text
    assert "{" not in text
    assert "If " in text
    assert text.count("192.0.2.7") == html().count("192.0.2.7") == 1
    assert "Lynx/2.9" in text


def test_events_of_django_allauth_are_all_known() -> None:
    assert {
        "password_changed",
        "password_reset",
        "password_set",
        "email_changed",
        "email_deleted",
        "totp_activated",
        "totp_deactivated",
        "recovery_codes_generated",
        "webauthn_added",
        "webauthn_removed",
    } <= EVENTS.keys()


def test_an_event_that_nobody_has_words_for_is_told_in_general() -> None:
    text = " ".join(notice("quantum_login").split())
    assert "concerns its security" in text
    assert "quantum" not in text


def test_what_a_notice_lacks_does_not_stop_it() -> None:
    user, _ = person()
    row = queue(Kind.SECURITY_NOTICE, to=user.email, user=user, detail={"event": "role_changed", "ip": None})
    assert sent(row).state == "sent"
    assert "IP address" not in str(last_message().body)


def test_a_member_reads_what_became_of_themself_and_owners_what_became_of_others() -> None:
    user, _ = person()
    assert notice("role_changed", user, address=user.email).startswith("Your role at The <Gazette> is now editor.")
    assert notice("role_changed", user).startswith(f"The role of Chloé ({cast.CHLOE}) at The <Gazette> is now editor.")


def test_a_role_says_when_it_is_for_chosen_newsletters() -> None:
    assert "is now editor of chosen newsletters." in " ".join(notice("role_changed", limited=True).split())
    assert "is now editor." in " ".join(notice("role_changed", cast.make_user(), limited=False).split())


def test_nobody_is_told_where_others_were() -> None:
    text = notice("member_removed", by="Ada Owner")
    assert "By: Ada Owner" in text
    assert "ask Ada Owner" in text
    assert "192.0.2.7" not in text + html()


def test_the_old_address_of_an_account_is_not_sent_to_a_reset_that_it_cannot_use() -> None:
    text = notice("email_changed")
    assert "write at once to whoever runs news.example.test" in " ".join(text.split())
    assert "/account/password/reset/" not in text + html()


def test_a_value_is_shown_to_a_certain_length() -> None:
    text = notice("new_device", user_agent="x" * 5_000)
    assert len(text) < 1_500
    assert AccountMail.objects.get().detail["user_agent"] == "x" * 5_000

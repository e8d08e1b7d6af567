from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from core.errors import InvalidError
from newsletters.delivery.compose import Recipient, Template
from newsletters.models import Edition
from newsletters.publishing.freezing import freeze
from tests.cast import make_issue, make_newsletter

pytestmark = pytest.mark.django_db
STARTED_AT = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)


def test_what_is_frozen_is_what_goes_out_whatever_is_edited_later() -> None:
    issue = make_issue(make_newsletter(), subject="Before")
    edition = freeze(issue, started_at=STARTED_AT)
    issue.newsletter.name = "Renamed"
    issue.newsletter.save()
    issue.subject = "After"
    issue.save()
    stored = Edition.objects.get(pk=edition.pk)
    assert hashlib.sha256(bytes(stored.template)).digest() == bytes(stored.sha256)
    template = Template.from_bytes(bytes(stored.template))
    mail = template.compose(Recipient(1, 2, "ada@example.org", {"subscriber.name": "Ada"}))
    assert b"\r\nSubject: Before\r\n" in mail.data
    assert b"\r\nDate: Sun, 01 Nov 2026 08:00:00 +0000\r\n" in mail.data
    assert b"Renamed" not in mail.data
    assert template.merge_fields == ("subscriber.name",)


def test_the_same_issue_freezes_to_the_same_bytes() -> None:
    issue = make_issue(make_newsletter())
    first = freeze(issue, started_at=STARTED_AT)
    template = bytes(first.template)
    first.delete()
    assert bytes(freeze(issue, started_at=STARTED_AT).template) == template


@pytest.mark.parametrize("subject", ["=?utf-8?q?Hi=0ABcc:_x@example.org?=", "Hi\nBcc: x@example.org", "{{ nope }}"])
def test_a_subject_that_slipped_past_saving_is_not_frozen(subject: str) -> None:
    issue = make_issue(make_newsletter(), subject=subject)
    with pytest.raises(InvalidError):
        freeze(issue, started_at=STARTED_AT)
    assert not Edition.objects.exists()


@pytest.mark.parametrize("field", ["name", "from_name"])
@pytest.mark.parametrize("value", ["=?utf-8?q?Hi=0ABcc:_x@example.org?=", "a\x00b"])
def test_a_name_that_slipped_past_saving_is_stopped_by_the_postcondition(field: str, value: str) -> None:
    issue = make_issue(make_newsletter())
    setattr(issue.newsletter, field, value)
    with pytest.raises(InvalidError) as raised:
        freeze(issue, started_at=STARTED_AT)
    assert raised.value.code == "unsafe_message"
    assert not Edition.objects.exists()

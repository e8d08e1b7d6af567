from __future__ import annotations

import re

import pytest
from django.core import mail
from django.db.models.functions import Now

from core.errors import ConflictError, InvalidError
from core.tokens import InvalidTokenError, open_token
from newsletters.audience.suppressing import suppress
from newsletters.delivery import notices
from newsletters.models import Issue, IssueState, Notice, NoticeState, SuppressionReason
from newsletters.publishing.freezing import freeze
from newsletters.publishing.notice_mails import COMPOSERS
from newsletters.publishing.proofing import preview, request_proof
from tests.cast import ADA, BORIS, CHLOE, make_issue, make_newsletter, make_reader, make_sender

pytestmark = pytest.mark.django_db


def refusal(issue: Issue, addresses: list[str]) -> InvalidError:
    with pytest.raises(InvalidError) as raised:
        request_proof(issue, addresses)
    assert not Notice.objects.exists()
    return raised.value


def test_each_address_gets_one_proof_with_links_that_unsubscribe_nobody() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter, address=ADA)
    issue = make_issue(newsletter)
    queued = request_proof(issue, [ADA, "Ada@EXAMPLE.org", BORIS])
    assert [notice.to_address for notice in queued] == ["Ada@example.org", BORIS]
    for notice in queued:
        notices.send(notice.pk, composers=COMPOSERS)
    assert set(Notice.objects.values_list("state", flat=True)) == {NoticeState.SENT}
    first, second = mail.outbox
    assert first.subject == "What happened this week"
    assert "Dear Ada," in str(first.body)
    assert "Dear reader," in str(second.body)
    token = re.search(r"/u/([\w-]+)>", first.extra_headers["List-Unsubscribe"])
    assert token is not None
    with pytest.raises(InvalidTokenError):
        open_token("unsubscribe", token[1])
    assert token[1] in str(first.body)


@pytest.mark.parametrize("count", [0, 11])
def test_a_proof_goes_to_between_one_and_ten_addresses(count: int) -> None:
    addresses = [f"a{number}@example.org" for number in range(count)]
    assert refusal(make_issue(make_newsletter()), addresses).code == "wrong_number_of_addresses"


def test_a_bad_or_suppressed_address_is_named_by_its_place() -> None:
    issue = make_issue(make_newsletter())
    assert refusal(issue, [ADA, "nobody"]).errors[0].pointer == "/addresses/1"
    reader = make_reader(issue.newsletter, address=CHLOE).subscriber
    suppress(issue.newsletter.publisher_id, bytes(reader.address_digest), SuppressionReason.COMPLAINED)
    error = refusal(issue, [CHLOE])
    assert (error.code, error.errors[0].pointer) == ("address_suppressed", "/addresses/0")


def test_no_proof_comes_from_an_unverified_sender() -> None:
    newsletter = make_newsletter()
    newsletter.sender = make_sender(newsletter.publisher, address="other@gazette.example", verified=False)
    newsletter.save()
    assert refusal(make_issue(newsletter), [ADA]).code == "sender_not_verified"


def test_an_issue_that_cannot_be_rendered_has_no_proof() -> None:
    assert refusal(make_issue(make_newsletter(), body=""), [ADA]).code == "issue_has_no_content"


def test_proofs_come_before_the_start() -> None:
    issue = make_issue(make_newsletter())
    Issue.objects.filter(pk=issue.pk).update(state=IssueState.SENDING, started_at=Now())
    issue.refresh_from_db()
    with pytest.raises(ConflictError) as raised:
        request_proof(issue, [ADA])
    assert raised.value.code == "issue_already_started"


def test_a_proof_of_an_issue_that_started_meanwhile_is_not_sent() -> None:
    issue = make_issue(make_newsletter())
    (notice,) = request_proof(issue, [ADA])
    Issue.objects.filter(pk=issue.pk).update(state=IssueState.SENDING, started_at=Now())
    notices.send(notice.pk, composers=COMPOSERS)
    assert mail.outbox == []
    assert Notice.objects.get().state == NoticeState.FAILED


def test_a_preview_shows_what_this_reader_would_get() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter, address=CHLOE, attributes={"city": "Lyon & co"})
    issue = make_issue(newsletter, subject="For {{ subscriber.name }}", body="In {{ subscriber.city }}")
    shown = preview(issue, reader)
    assert shown.subject == "For Chloé"
    assert "In Lyon &amp; co" in shown.html
    assert "In Lyon & co" in shown.text
    token = re.search(r"/u/([\w-]+)", shown.text)
    assert token is not None
    with pytest.raises(InvalidTokenError):
        open_token("unsubscribe", token[1])


def test_a_preview_for_nobody_in_particular_shows_the_defaults() -> None:
    assert "Dear reader," in preview(make_issue(make_newsletter()), None).text


def test_a_started_issue_is_previewed_as_it_was_frozen() -> None:
    issue = make_issue(make_newsletter(), subject="Before")
    freeze(issue, started_at=issue.created_at)
    issue.subject = "After"
    shown = preview(issue, None)
    assert shown.subject == "Before"

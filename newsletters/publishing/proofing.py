"""See an issue before its readers do: proofs by mail and previews.

Both are composed by the code that composes the real mails. Their unsubscribe links and bounce
addresses are made for another purpose, so using them touches no reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage as ParsedMessage
from email.policy import default

from django.core.mail import EmailMessage
from django.db import transaction

from core.addresses import Address, canonical
from core.errors import ConflictError, FieldError, InvalidError, invalid_field
from newsletters.audience.suppressing import is_suppressed
from newsletters.delivery import notices
from newsletters.delivery.backend import to_message
from newsletters.delivery.compose import Purpose, Recipient, Template
from newsletters.models import Edition, Issue, Notice, NoticeKind, Subscriber, Subscription
from newsletters.publishing.editing import EDITABLE_STATES
from newsletters.publishing.freezing import template_for
from newsletters.publishing.senders import is_usable

MOST_PROOFS = 10
PREVIEW_ADDRESS = "reader@example.org"


@dataclass(frozen=True)
class Preview:
    """What one reader's mail program would show."""

    subject: str
    html: str
    text: str


def request_proof(issue: Issue, addresses: Sequence[str]) -> list[Notice]:
    """Queue a proof of a draft or scheduled issue to each address, 10 at most, each once.

    Raises ConflictError `issue_already_started`; InvalidError `invalid_address` and
    `address_suppressed` naming the address's place, `wrong_number_of_addresses`, `sender_not_verified`,
    and what rendering raises.
    """
    if issue.state not in EDITABLE_STATES:
        raise ConflictError("issue_already_started", f"Proofs come before the start; this issue is {issue.state}.")
    if not 1 <= len(addresses) <= MOST_PROOFS:
        raise invalid_field(
            "/addresses", "wrong_number_of_addresses", f"A proof goes to between 1 and {MOST_PROOFS} addresses."
        )
    publisher_id = issue.newsletter.publisher_id
    wanted = {address.key: address for address in _canonical(addresses, publisher_id)}
    if not is_usable(issue.newsletter.sender):
        raise InvalidError("sender_not_verified", "The newsletter's From address has not been verified.")
    template_for(issue, started_at=issue.created_at, purpose=Purpose.PROOF)
    with transaction.atomic():
        return [notices.queue(NoticeKind.PROOF, to=address.address, issue=issue) for address in wanted.values()]


def _canonical(addresses: Sequence[str], publisher_id: int) -> list[Address]:
    found: list[Address] = []
    for index, text in enumerate(addresses):
        pointer = f"/addresses/{index}"
        try:
            address = canonical(text)
        except InvalidError as error:
            named = FieldError(code=error.code, detail=error.detail, pointer=pointer)
            raise InvalidError(error.code, error.detail, errors=[named]) from None
        if is_suppressed(publisher_id, address.digest):
            raise invalid_field(pointer, "address_suppressed", "This address takes no mail from you any more.")
        found.append(address)
    return found


def compose_proof(notice: Notice) -> EmailMessage | None:
    """Return the mail of a proof; None when the issue has started meanwhile or its sender lapsed."""
    issue = notice.issue
    if issue is None or issue.state not in EDITABLE_STATES or not is_usable(issue.newsletter.sender):
        return None
    template = template_for(issue, started_at=notice.created_at, purpose=Purpose.PROOF)
    address = canonical(notice.to_address)
    subscriber = Subscriber.objects.filter(publisher=issue.newsletter.publisher_id, address_key=address.key).first()
    # The seals of a proof are of purposes that nothing acts on, so the notice's number will do.
    recipient = Recipient(notice.pk, notice.pk, address.address, _merge(subscriber))
    return to_message(template.compose(recipient))


def preview(issue: Issue, subscription: Subscription | None) -> Preview:
    """Return what this reader would get, or a reader about whom nothing is known.

    A started issue is shown as it was frozen. Raises what rendering raises.
    """
    subscriber = subscription.subscriber if subscription else None
    address = subscriber.address if subscriber else PREVIEW_ADDRESS
    mail = _preview_template(issue).compose(Recipient(0, 0, address, _merge(subscriber)))
    parsed = message_from_bytes(mail.data, policy=default)
    assert isinstance(parsed, ParsedMessage)
    html, text = parsed.get_body(("html",)), parsed.get_body(("plain",))
    assert html is not None
    assert text is not None
    return Preview(subject=str(parsed["Subject"]), html=html.get_content(), text=text.get_content())


def _preview_template(issue: Issue) -> Template:
    edition = Edition.objects.filter(issue=issue).first()
    if edition is None:
        return template_for(issue, started_at=datetime.now(UTC), purpose=Purpose.PROOF)
    return dataclasses.replace(Template.from_bytes(bytes(edition.template)), purpose=Purpose.PROOF)


def _merge(subscriber: Subscriber | None) -> Mapping[str, str]:
    if subscriber is None:
        return {}
    attributes = {f"subscriber.{name}": value for name, value in subscriber.attributes.items()}
    return attributes | {"subscriber.name": subscriber.name}

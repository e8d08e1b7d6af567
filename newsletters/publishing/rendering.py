"""From what an editor typed to the two bodies of a mail, cut where readers differ."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InvalidError, invalid_field
from core.text_types import shows_something
from newsletters.delivery.slots import ADDRESS_FIELD, UNSUBSCRIBE_FIELD, Context, Pieces, slot_fields
from newsletters.models import BodyFormat, Issue
from newsletters.publishing import layout, markdown
from newsletters.publishing.header_text import check_characters, check_header_text, check_plain_text
from newsletters.publishing.merge_tags import Marked, Tag, mark, parse, pieces_of
from newsletters.publishing.nesting import check_size
from newsletters.publishing.sanitising import sanitise
from newsletters.publishing.text_part import to_text

LONGEST_SUBJECT = 255
LONGEST_PREHEADER = 255


@dataclass(frozen=True)
class Rendered:
    """An issue ready for composition; every text is cut at its slots.

    `merge_fields` names the readers' values it uses, such as "subscriber.city".
    """

    subject: Pieces
    preheader: Pieces
    html: Pieces
    text: Pieces
    merge_fields: tuple[str, ...]


def check(*, subject: str, preheader: str, body: str, body_format: str) -> None:
    """Raise InvalidError for anything in a draft that could not be sent.

    A draft may still lack its body. Codes: `control_character`, `encoded_word`, `too_long`, `only_spaces`,
    `required`, `unknown_tag`, `unclosed_tag`, `too_many_tags`, `misplaced_tag`, `tag_in_style`, `html_too_complex`,
    `markdown_too_complex`, `invalid_link`, `unknown_body_format`.
    """
    if not subject:
        raise invalid_field("/subject", "required", "An issue has a subject.")
    check_header_text("/subject", subject, longest=LONGEST_SUBJECT)
    parse(subject, pointer="/subject")
    check_plain_text("/preheader", preheader, longest=LONGEST_PREHEADER)
    parse(preheader, pointer="/preheader")
    _body_html(body, body_format, beside=())


def render(issue: Issue) -> Rendered:
    """Return the issue's subject and bodies. Raises what `check` raises, and `issue_has_no_content`."""
    newsletter = issue.newsletter
    check(subject=issue.subject, preheader=issue.preheader, body="", body_format=issue.body_format)
    beside = (issue.subject, issue.preheader, newsletter.name, newsletter.postal_address)
    marked, body = _body_html(issue.body, issue.body_format, beside=beside)
    text = to_text(body) if body else ""
    if not shows_something(text) and "<img" not in body:
        raise InvalidError("issue_has_no_content", "The issue has neither text nor an image.")
    unsubscribe = marked.marker(Tag(UNSUBSCRIBE_FIELD))
    html = layout.lay_out(
        newsletter,
        subject=issue.subject if "{{" not in issue.subject else newsletter.name,
        preheader=marked.mark(parse(issue.preheader, pointer="/preheader")),
        body=body,
        is_markdown=issue.body_format == BodyFormat.MARKDOWN,
        unsubscribe_url=unsubscribe,
    )
    text = layout.lay_out_text(newsletter, body=text, unsubscribe_url=unsubscribe)
    subject = pieces_of(issue.subject, pointer="/subject", newsletter_name=newsletter.name)
    html_pieces = marked.cut(html, context=Context.HTML, newsletter_name=newsletter.name)
    text_pieces = marked.cut(text, context=Context.TEXT, newsletter_name=newsletter.name)
    fields = set(slot_fields(subject, html_pieces, text_pieces)) - {ADDRESS_FIELD, UNSUBSCRIBE_FIELD}
    return Rendered(
        subject=subject,
        preheader=pieces_of(issue.preheader, pointer="/preheader", newsletter_name=newsletter.name),
        html=html_pieces,
        text=text_pieces,
        merge_fields=tuple(sorted(fields)),
    )


def _body_html(body: str, body_format: str, *, beside: tuple[str, ...]) -> tuple[Marked, str]:
    """Return the body's tags and its sanitised HTML with markers in their places."""
    pointer = "/body"
    check_size(pointer, body)
    check_characters(pointer, body, lines=True)
    marked = mark(body, pointer=pointer, beside=beside)
    if body_format == BodyFormat.MARKDOWN:
        html = markdown.to_html(marked.text, pointer=pointer)
    elif body_format == BodyFormat.HTML:
        html = marked.text
    else:
        known = ", ".join(BodyFormat.values)
        raise invalid_field("/body_format", "unknown_body_format", f"A body is written in one of: {known}.")
    return marked, sanitise(html, marked=marked, pointer=pointer)

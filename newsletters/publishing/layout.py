"""The one layout of every issue: our HTML around the body, styles inlined, and the text form's footer."""

from __future__ import annotations

import css_inline
from django.template.loader import render_to_string

from newsletters.models import Newsletter

_INLINER = css_inline.CSSInliner(
    # Dark mode and small screens live in @media, which cannot be inlined.
    keep_at_rules=True,
    keep_style_tags=False,
    load_remote_stylesheets=False,
)


def lay_out(
    newsletter: Newsletter, *, subject: str, preheader: str, body: str, is_markdown: bool, unsubscribe_url: str
) -> str:
    """Return the whole HTML document. `body` is sanitised HTML; the other texts are plain.

    Tables from Markdown get our lines and spacing; in HTML they are often an editor's own layout.
    """
    context = {
        "newsletter": newsletter,
        "subject": subject,
        "preheader": preheader,
        "body": body,
        "is_markdown": is_markdown,
        "postal_lines": newsletter.postal_address.splitlines(),
        "unsubscribe_url": unsubscribe_url,
    }
    return _INLINER.inline(render_to_string("newsletters/mail/issue.html", context))


def lay_out_text(newsletter: Newsletter, *, body: str, unsubscribe_url: str) -> str:
    """Return the text form with its footer, lines ending in LF."""
    context = {
        "newsletter": newsletter,
        "body": body,
        "postal_lines": newsletter.postal_address.splitlines(),
        "unsubscribe_url": unsubscribe_url,
    }
    return render_to_string("newsletters/mail/issue.txt", context).strip() + "\n"

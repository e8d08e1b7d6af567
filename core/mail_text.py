"""Writing a mail from its two templates, with names that cannot add a header."""

from __future__ import annotations

import re
from email.charset import QP, Charset

from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

# Bodies go out in 7-bit ASCII with short lines, which no relay needs to change.
_UTF8_QP = Charset("utf-8")
_UTF8_QP.body_encoding = QP
# Characters that end a header line somewhere.
_LINE_BREAKERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def write(template: str, context: dict[str, object], *, subject: str, sender: str, to: str) -> EmailMultiAlternatives:
    """Return the mail of `template`.txt and `template`.html, which also see `subject`."""
    subject = header_text(subject)
    context = context | {"subject": subject}
    text = render_to_string(f"{template}.txt", context)
    html = render_to_string(f"{template}.html", context)
    message = EmailMultiAlternatives(subject=subject, body=text, from_email=sender, to=[to])
    message.encoding = _UTF8_QP
    message.attach_alternative(html, "text/html")
    return message


def header_text(text: str) -> str:
    """Return a text on one line that no mail program decodes into something else."""
    # "=?" begins an encoded word, which mail programs decode into whatever it hides.
    return _LINE_BREAKERS.sub(" ", text).replace("=?", "= ?").strip()

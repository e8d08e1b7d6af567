"""What pages for people who are not logged in need to know."""

from __future__ import annotations

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def sign_up_mode() -> str:
    """Return who may make an account: `open`, `invitation` or `closed`."""
    mode: str = settings.SIGN_UP
    return mode

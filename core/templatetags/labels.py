"""What fields are called on pages."""

from __future__ import annotations

from django import template
from django.forms import BoundField

register = template.Library()

# django-allauth's words, and ours.
WORDS = {
    "Email": "E-mail address",
    "Current Password": "Current password",
    "New Password": "New password",
    "New Password (again)": "New password, again",
    "Password (again)": "Password, again",
}


@register.filter
def label(field: BoundField) -> str:
    """Return the label of a field, in the words of all pages."""
    return WORDS.get(str(field.label), str(field.label))

"""What pages of an account need to know."""

from __future__ import annotations

from django import template
from django.conf import settings

from accounts.doors import second_factor_rule
from accounts.doors.invited import invitation_of
from accounts.models import Invitation

register = template.Library()

# The first that a browser's name for itself holds; later ones name themselves after earlier ones.
BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "FxiOS": "Firefox", "Chrome/": "Chrome"}
BROWSERS |= {"CriOS": "Chrome", "Safari/": "Safari"}
SYSTEMS = {"Windows": "Windows", "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Mac OS X": "macOS"}
SYSTEMS |= {"CrOS": "ChromeOS", "Linux": "Linux"}
LONGEST_NAME = 60


@register.simple_tag
def sign_up_mode() -> str:
    """Return who may make an account: `open`, `invitation` or `closed`."""
    mode: str = settings.SIGN_UP
    return mode


@register.simple_tag(takes_context=True)
def standing_invitation(context: template.Context) -> Invitation | None:
    """Return the invitation that the visitor came with, while it can be accepted."""
    return invitation_of(context["request"])


@register.simple_tag(takes_context=True)
def wanted_page(context: template.Context) -> str:
    """Return the page that somebody asked for before they had a second factor, "" where there is none."""
    return second_factor_rule.wanted_page(context["request"])


@register.filter
def device(user_agent: str) -> str:
    """Return what somebody calls the browser and its system, or else the beginning of its own name."""
    browser = next((name for part, name in BROWSERS.items() if part in user_agent), "")
    system = next((name for part, name in SYSTEMS.items() if part in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or user_agent[:LONGEST_NAME] or "Unknown"

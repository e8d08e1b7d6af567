"""The environment in which tests and the processes they start run."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# Read by config/gunicorn.py, since gunicorn starts before the settings do.
GUNICORN_NAMES = {"PORT", "WEB_CONCURRENCY", "WEB_THREADS"}
_ASSIGNMENT = re.compile(r"^#? ?([A-Z][A-Z0-9_]*)=", re.MULTILINE)


def documented_names() -> set[str]:
    """Return every variable that `.env.example` describes."""
    return set(_ASSIGNMENT.findall((ROOT / ".env.example").read_text(encoding="utf-8")))


def clean_environment() -> dict[str, str]:
    """Return a complete environment for Courant, as in production, with no outside influence.

    Every variable of Courant is named, empty where its default is wanted: the settings would
    otherwise read it from the developer's own `.env`.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "ANYMAIL_"))}
    return (
        kept
        | dict.fromkeys(documented_names() - GUNICORN_NAMES, "")
        | {
            "DEBUG": "0",
            "ALLOW_TEST_ADDRESSES": "1",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "BASE_URL": "http://news.example.test",
            "ALLOWED_HOSTS": "news.example.test,testserver,127.0.0.1",
            "BROKER_URL": "memory://",
            "DEFAULT_FROM_EMAIL": "courant@example.test",
            "LOG_LEVEL": "WARNING",
            "RESTORE_GUARD_STORE": "off",
            # Tests ask faster than any client; those about the limits set their own.
            "API_KEY_RATE": "0",
            "API_ADDRESS_RATE": "0",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
    )

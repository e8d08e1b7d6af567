"""How the settings say that mail leaves: our SMTP to a relay, or the adapter for another e-mail backend."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings

from newsletters.delivery.backend import BackendConnection
from newsletters.delivery.smtp import Connection, Relay, connect

DJANGO_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def open_connection() -> Callable[[], Awaitable[Connection]]:
    """Return how lanes get a connection."""
    if settings.EMAIL_BACKEND == DJANGO_SMTP:
        return functools.partial(connect, relay_of_settings())
    executor = ThreadPoolExecutor(settings.DELIVERY_LANES, thread_name_prefix="backend")

    async def open_backend() -> Connection:
        return BackendConnection(executor)

    return open_backend


def relay_of_settings() -> Relay:
    """Return the relay that Django's EMAIL_* settings name."""
    return Relay(
        host=settings.EMAIL_HOST,
        port=settings.EMAIL_PORT,
        username=settings.EMAIL_HOST_USER,
        password=settings.EMAIL_HOST_PASSWORD,
        use_starttls=settings.EMAIL_USE_TLS,
        use_tls=settings.EMAIL_USE_SSL,
        connect_seconds=settings.EMAIL_TIMEOUT,
        most_mails=settings.EMAIL_CONNECTION_MAILS,
        most_seconds=settings.EMAIL_CONNECTION_SECONDS,
        patience=settings.SMTP_PATIENCE_PERCENT / 100,
    )

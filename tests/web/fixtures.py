"""Who looks at pages of an account: a person, and a browser in which they are logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from tests import cast
from tests.accounts.doors import log_in, post


@pytest.fixture
def open_doors(settings: Settings, db: None) -> Iterator[None]:
    """Anybody may sign up, and nobody has tried anything yet."""
    settings.SIGN_UP = "open"
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def person(open_doors: None) -> User:
    return cast.make_user()


@pytest.fixture
def inside(person: User) -> Client:
    """A browser that has just logged in, and shown once more whose it is."""
    client = Client()
    assert log_in(client, person.email).status_code == 302
    assert post(client, "account_reauthenticate", password=cast.PASSWORD).status_code == 302
    return client

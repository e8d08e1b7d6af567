from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tests.admin.desks import Desk


@pytest.fixture
def desk(db: None) -> Desk:
    """An owner's desk."""
    return _desks().make_desk("owner")


@pytest.fixture
def other_desk(db: None) -> Desk:
    """An owner's desk at another publisher."""
    return _desks().make_desk("owner", name="The Rival", email="owner@rival.example")


@pytest.fixture
def viewer_desk(db: None) -> Desk:
    return _desks().make_desk("viewer")


@pytest.fixture
def superuser_client(db: None) -> Client:
    return _desks().make_superuser_client()


def _desks():  # type: ignore[no-untyped-def]  # noqa: ANN202
    # Models cannot be imported yet while conftest files load.
    return importlib.import_module("tests.admin.desks")

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tests.admin.desks import Desk


@pytest.fixture
def desk(db: None) -> Desk:
    """An owner's desk."""
    made: Desk = _desks().make_desk("owner")
    return made


@pytest.fixture
def other_desk(db: None) -> Desk:
    """An owner's desk at another publisher."""
    made: Desk = _desks().make_desk("owner", name="The Rival", email="owner@rival.example")
    return made


@pytest.fixture
def viewer_desk(db: None) -> Desk:
    made: Desk = _desks().make_desk("viewer")
    return made


@pytest.fixture
def superuser_client(db: None) -> Client:
    made: Client = _desks().make_superuser_client()
    return made


def _desks() -> Any:
    # Models cannot be imported yet while conftest files load.
    return importlib.import_module("tests.admin.desks")

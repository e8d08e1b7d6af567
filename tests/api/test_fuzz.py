"""Requests made from the document by schemathesis: no 5xx, answers as documented, nothing stored by what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from core.restore_guard import require_unblocked
from tests.api.documented import DOCUMENT
from tests.api.fixtures import Api, row_counts
from tests.api.operations import make_ids

pytestmark = pytest.mark.django_db
# The same few each time; COURANT_FUZZ=200 looks for others.
MORE = int(os.environ.get("COURANT_FUZZ") or "0")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.app = get_wsgi_application()
OPERATIONS: list[Any] = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]
bounded = settings(
    max_examples=MORE or 8,
    derandomize=not MORE,
    deadline=None,
    database=None,
    # Each case is rolled back, so that one set of rows serves them all.
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """Keep the test's transaction: Django's own test client does the same."""
    hooks = (request_started, request_finished)
    for hook in hooks:
        hook.disconnect(close_old_connections)
    yield
    for hook in hooks:
        hook.connect(close_old_connections)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.definition.raw["operationId"])
def test_an_operation_answers_as_documented(operation: Any, mode: GenerationMode, api: Api) -> None:
    ids = make_ids(api.publisher)
    # Its row is made when it is first asked.
    require_unblocked()
    seen: set[int] = set()

    @bounded
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def ask(case: Any, *, real: bool) -> None:
        if real:
            case.path_parameters = {name: ids[name] for name in case.path_parameters or {}}
        with transaction.atomic():
            before = row_counts()
            response = case.call(base_url="http://testserver", headers={"Authorization": f"Bearer {api.key}"})
            seen.add(response.status_code)
            assert response.status_code < 400 or row_counts() == before
            # A body that is too large is refused before anybody looks for another fault; schemathesis has no 413 there.
            checks = [one for one in CHECKS if response.status_code != 413 or one is not negative_data_rejection]
            case.validate_response(response, checks=checks)
            transaction.set_rollback(True)

    ask()
    # Requests that never came past the door would show nothing.
    assert mode == GenerationMode.NEGATIVE or seen - {400, 401, 403, 429}

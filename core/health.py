"""Health: `/healthz` says that the process answers, `/readyz` that it can serve.

Both are answered before the host, the scheme or a session is looked at, since load balancers ask by IP address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from core.models import ClockLease
from core.restore_guard import is_blocked, store_report


class HealthMiddleware:
    """Answers the two health paths; everything else goes on to the site."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._views = {"/healthz": healthz, "/readyz": readyz}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = self._views.get(request.path_info)
        return view(request) if view else self._get_response(request)


@require_safe
def healthz(_request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process runs; asks nobody else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database answers and every migration is applied, else 503.

    The broker's state is shown as the clock last reported it; requests need no broker. `sending` is blocked
    while a restored database waits for `accept-restore`, and `guard_store` is unreachable while a worker cannot use
    the store that such a restore is noticed by: pages and API work on, so the answer is still 200.
    """
    try:
        pending = pending_migrations()
        reports = {} if pending else _reports()
    except (DatabaseError, InterfaceError):
        return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503)
    state: dict[str, Any] = {"database": "ok", "migrations": "pending" if pending else "applied"}
    if pending:
        return JsonResponse({"status": "unavailable", **state, "pending_migrations": pending}, status=503)
    return JsonResponse({"status": "ok", **state, **reports})


def _reports() -> dict[str, Any]:
    sending = "blocked" if is_blocked() else "ok"
    return {"broker": broker_report(), "sending": sending, "guard_store": store_report()}


def pending_migrations() -> list[str]:
    """Return the names of migrations that are not applied, such as "newsletters.0002_guards"."""
    executor = MigrationExecutor(connection)
    loader = executor.loader
    # The plan from what is applied ends at an applied migration and does not see a gap before it.
    plan = executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True)
    missing = [one for one, _backwards in plan if (one.app_label, one.name) not in loader.applied_migrations]
    return [f"{migration.app_label}.{migration.name}" for migration in missing]


def broker_report() -> dict[str, Any]:
    """Return what the clock last found: `state` is ok, unreachable or unknown (no worker has run yet)."""
    lease = ClockLease.objects.filter(pk=1).first()
    if lease is None or (lease.broker_ok_at is None and not lease.broker_error):
        return {"state": "unknown", "last_ok_at": None}
    return {"state": "unreachable" if lease.broker_error else "ok", "last_ok_at": lease.broker_ok_at}

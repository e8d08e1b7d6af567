"""Steps: what a person can do to rows beyond editing them, as list actions and as buttons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts.audit import Actor, person
from core.errors import CourantError

if TYPE_CHECKING:
    from accounts.admin.base import BaseAdmin

M = TypeVar("M", bound=models.Model)
MAX_ROWS = 1000


def _always(_row: Any) -> bool:
    return True


@dataclass(frozen=True)
class Step(Generic[M]):
    """One journey function offered in the admin.

    `run` does it to one row and raises CourantError when it is refused; `run_as`, in its place, is also told
    who asks. `done` is the sentence that reports success. With a `question` a page asks first, naming each row
    by `describe`. `shown` says whether a row's page has the button; whether it is allowed, the function alone
    decides.
    """

    name: str
    label: str
    done: str
    run: Callable[[M], object] | None = None
    run_as: Callable[[M, Actor], object] | None = None
    question: str = ""
    describe: Callable[[M], str] = str
    shown: Callable[[M], bool] = _always
    danger: bool = False

    def carry_out(self, row: M, actor: Actor) -> None:
        if self.run_as is not None:
            self.run_as(row, actor)
        if self.run is not None:
            self.run(row)


def run_step(
    step: Step[Any], page: BaseAdmin[Any], request: HttpRequest, chosen: models.QuerySet[Any]
) -> HttpResponse | None:
    """Ask for confirmation if the step wants it, then run it on each row and report each row."""
    rows = list(chosen.filter(pk__in=page.writable(request).values("pk"))[: MAX_ROWS + 1])
    if not rows or len(rows) > MAX_ROWS:
        messages.error(request, f"Choose from 1 to {MAX_ROWS:,} rows that you may change.")
        return None
    if step.question and "confirmed" not in request.POST:
        return _ask(step, page, request, rows)
    for row in rows:
        _run_one(step, page, request, row)
    return _back(page, request, rows)


def _run_one(step: Step[Any], page: BaseAdmin[Any], request: HttpRequest, row: models.Model) -> None:
    name = str(row)
    try:
        step.carry_out(row, person(request))
    except CourantError as error:
        messages.error(request, f"{name}: {error.detail}")
        return
    page.log_change(request, row, [{"changed": {"name": step.label, "object": name}}])
    messages.success(request, f"{name}: {step.done}")


def _ask(step: Step[Any], page: BaseAdmin[Any], request: HttpRequest, rows: Iterable[models.Model]) -> HttpResponse:
    context = {
        **page.admin_site.each_context(request),
        "title": step.label,
        "opts": page.opts,
        "step": step,
        "rows": [(row.pk, step.describe(row)) for row in rows],
        "origin": request.POST.get("origin", ""),
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "media": page.media,
    }
    return TemplateResponse(request, "admin/courant_step.html", context)


def _back(page: BaseAdmin[Any], request: HttpRequest, rows: list[Any]) -> HttpResponse | None:
    """Return to the row's own page when the button was there and the row still exists."""
    if request.POST.get("origin") != "row" or not page.get_queryset(request).filter(pk=rows[0].pk).exists():
        return None
    name = f"admin:{page.opts.app_label}_{page.opts.model_name}_change"
    return HttpResponseRedirect(reverse(name, args=[rows[0].pk]))

"""What every admin page shares: scoping to the current publisher, roles, steps as buttons, lists that stop counting."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.text import capfirst

from accounts.admin.lists import StrictLists
from accounts.admin.steps import Step, run_step
from accounts.audit import Actor, person
from accounts.current import current_membership
from accounts.forms import CarriesOut
from accounts.models import Membership, Role, User

M = TypeVar("M", bound=models.Model)
COUNT_LIMIT = 10_000
MAX_ID_DIGITS = 18  # of a 64-bit number

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
    _ForeignKey = models.ForeignKey[Any, Any]
else:
    _Paginator = Paginator
    _ForeignKey = models.ForeignKey


class CappedPaginator(_Paginator):
    """A paginator that stops counting at 10,000 rows: further rows are found by filter and search."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, models.QuerySet)
        return int(rows.order_by()[:COUNT_LIMIT].count())


class JourneyForm(CarriesOut, forms.ModelForm[M], Generic[M]):
    """A form of the admin that is saved by a journey's function.

    Subclasses override `carry_out`; `user` is who asks, `actor` the same for the audit log.
    """

    user: ClassVar[User]
    actor: ClassVar[Actor]

    @abc.abstractmethod
    def carry_out(self) -> M:
        """Return the stored row. Raises CourantError when the journey refuses."""

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and not self.errors:
            self.instance = self.outcome

    def save(self, commit: bool = True) -> M:
        return self.instance

    def _save_m2m(self) -> None:
        """Nothing is left to store."""

    save_m2m = _save_m2m


class BaseAdmin(StrictLists, admin.ModelAdmin[M], Generic[M]):
    """Shows people only rows of the publisher that they work for just now; superusers see all.

    `publisher_path` leads from the model to its publisher. `readers` are the roles that may see rows, `writers`
    those that may change them. `limit_path` leads on to the memberships that are limited to what a row belongs to:
    limited members see those rows, and without it none. `steps` become buttons on a row's page and actions on the
    list.
    """

    publisher_path: ClassVar[str] = "publisher"
    limit_path: ClassVar[str] = ""
    # Whether limited members may also change what they see, and attach other rows to it.
    limited_writes: ClassVar[bool] = True
    readers: ClassVar[frozenset[Role]] = frozenset(Role)
    writers: ClassVar[frozenset[Role]] = frozenset({Role.OWNER, Role.EDITOR})
    addable: ClassVar[bool] = True
    changeable: ClassVar[bool] = True
    steps: ClassVar[Sequence[Step[Any]]] = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_per_page = 50
    ordering = ("-id",)
    change_form_template = "admin/courant_change_form.html"

    @admin.display(description="ID")
    def uid(self, row: Any) -> str:
        return str(row.uid)

    def get_fields(self, request: HttpRequest, obj: M | None = None) -> Any:
        fields = super().get_fields(request, obj)
        # A row that is only being written has neither an id nor times.
        return fields if obj is not None else [name for name in fields if name not in self.readonly_fields]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    # --- whose rows -------------------------------------------------------------
    def standing(self, request: HttpRequest, roles: frozenset[Role]) -> Membership | None:
        """Return the current membership when it has one of `roles` and leads to rows of this page."""
        membership = current_membership(request) if _is_staff(request) else None
        if membership is None or membership.role not in roles:
            return None
        return None if membership.limited and not self.limit_path else membership

    def scope(self, rows: models.QuerySet[M], membership: Membership) -> models.QuerySet[M]:
        """Return the rows of the membership's publisher."""
        return rows.filter(**{self.publisher_path: membership.publisher_id})

    def scope_limited(self, rows: models.QuerySet[M], membership: Membership) -> models.QuerySet[M]:
        """Return the rows of what a limited member is limited to."""
        return rows.filter(**{self.limit_path: membership})

    def _within(self, rows: models.QuerySet[M], membership: Membership | None) -> models.QuerySet[M]:
        if membership is None:
            return rows.none()
        rows = self.scope(rows, membership)
        return self.scope_limited(rows, membership) if membership.limited else rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[M]:
        rows = super().get_queryset(request)
        return rows if _is_superuser(request) else self._within(rows, self.standing(request, self.readers))

    def writable(self, request: HttpRequest) -> models.QuerySet[M]:
        """Return the rows that the user may change or attach others to."""
        rows = self.get_queryset(request)
        return rows if _is_superuser(request) or self._writing(request) else rows.none()

    def _writing(self, request: HttpRequest) -> bool:
        membership = self.standing(request, self.writers)
        return membership is not None and (self.limited_writes or not membership.limited)

    def formfield_for_foreignkey(
        self, db_field: _ForeignKey, request: HttpRequest, **kwargs: Any
    ) -> forms.ModelChoiceField[Any] | None:
        related = self.admin_site._registry.get(db_field.related_model)  # noqa: SLF001  # get_model_admin raises
        if isinstance(related, BaseAdmin):
            kwargs["queryset"] = related.writable(request)
            if not db_field.blank and related.writable(request)[:2].count() == 1:
                kwargs["empty_label"] = None
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        # Popups for related rows are a second way in that adds nothing here.
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget
        return field

    # --- who may ----------------------------------------------------------------
    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return _is_staff(request) and (_is_superuser(request) or self.standing(request, self.readers) is not None)

    def may_write(self, request: HttpRequest, obj: M | None = None) -> bool:
        if not _is_staff(request):
            return False
        if _is_superuser(request):
            return True
        if obj is None or obj.pk is None:
            return self._writing(request)
        return self.writable(request).filter(pk=obj.pk).exists()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.addable and self.may_write(request)

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.changeable and self.may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        # Django's deletion collects every dependent row; where rows may go, a step calls the journey.
        return False

    # --- steps ------------------------------------------------------------------
    def steps_for(self, request: HttpRequest) -> Sequence[Step[Any]]:
        """Return the steps that are offered to who asks, if they may write at all."""
        return self.steps

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        steps = self.steps_for(request) if self.may_write(request) else ()
        return {step.name: (functools.partial(run_step, step), step.name, step.label) for step in steps}

    def response_action(  # newer versions of Django add arguments
        self, request: HttpRequest, queryset: models.QuerySet[M], *more: Any, **named: Any
    ) -> HttpResponse | None:
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        # A forged request can name what is no row's id, on which the database would fail.
        if all(one.isascii() and one.isdigit() and len(one) <= MAX_ID_DIGITS for one in chosen):
            return super().response_action(request, queryset, *more, **named)
        messages.error(request, "There are no such rows.")
        return None

    def render_change_form(  # noqa: PLR0917  # Django's signature
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: M | None = None,
    ) -> HttpResponse:
        if obj is not None and self.may_write(request, obj):
            context["steps"] = [step for step in self.steps_for(request) if step.shown(obj)]
        if obj is not None:
            context["links"] = self.links(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def links(self, request: HttpRequest, obj: M) -> list[tuple[str, str]]:
        """Return (label, address) of the pages that belong to a row."""
        return []

    # --- forms that call journeys -------------------------------------------------
    def get_form(self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        # A class made for this request alone, so the user on it is this request's.
        form.user, form.actor = request.user, person(request)
        return form

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        if not isinstance(form, JourneyForm):
            super().save_model(request, obj, form, change)


def _is_staff(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_staff


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser

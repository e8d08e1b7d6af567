"""What every admin page shares: scoping to publishers, roles, steps as buttons, lists that stop counting."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.text import capfirst

from accounts.admin.steps import Step, run_step
from accounts.audit import Actor, person
from accounts.forms import CarriesOut
from accounts.models import Membership, Role, User

M = TypeVar("M", bound=models.Model)
COUNT_LIMIT = 10_000

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


class BaseAdmin(admin.ModelAdmin[M], Generic[M]):
    """Shows a member of staff only rows of publishers they belong to; superusers see all.

    `publisher_path` leads from the model to its publisher. `readers` are the roles that may see rows, `writers`
    those that may change them. `steps` become buttons on a row's page and actions on the list.
    """

    publisher_path: ClassVar[str] = "publisher"
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
    def publishers(self, request: HttpRequest, roles: frozenset[Role] | None = None) -> models.QuerySet[Any, Any]:
        """Return the ids of publishers in which the user has one of `roles` (any by default)."""
        rows = Membership.objects.filter(user__pk=request.user.pk or 0)
        if roles is not None:
            rows = rows.filter(role__in=roles)
        return rows.values_list("publisher_id", flat=True)

    def scope(self, rows: models.QuerySet[M], publishers: models.QuerySet[Any, Any]) -> models.QuerySet[M]:
        return rows.filter(**{f"{self.publisher_path}__in": publishers})

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[M]:
        rows = super().get_queryset(request)
        return rows if _is_superuser(request) else self.scope(rows, self.publishers(request, self.readers))

    def writable(self, request: HttpRequest) -> models.QuerySet[M]:
        """Return the rows that the user may change or attach others to."""
        rows = self.get_queryset(request)
        return rows if _is_superuser(request) else self.scope(rows, self.publishers(request, self.writers))

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
        return _is_staff(request) and (_is_superuser(request) or self.publishers(request, self.readers).exists())

    def may_write(self, request: HttpRequest, obj: M | None = None) -> bool:
        if not _is_staff(request):
            return False
        if _is_superuser(request):
            return True
        if obj is None or obj.pk is None:
            return self.publishers(request, self.writers).exists()
        return self.writable(request).filter(pk=obj.pk).exists()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.addable and self.may_write(request)

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return self.changeable and self.may_write(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        # Django's deletion collects every dependent row; where rows may go, a step calls the journey.
        return False

    # --- steps ------------------------------------------------------------------
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not self.may_write(request):
            return {}
        return {step.name: (functools.partial(run_step, step), step.name, step.label) for step in self.steps}

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
            context["steps"] = [step for step in self.steps if step.shown(obj)]
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

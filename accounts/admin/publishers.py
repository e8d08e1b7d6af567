"""Publishers and who belongs to them. Members see theirs; superusers add and change."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from accounts.admin.base import BaseAdmin
from accounts.models import Membership, Publisher


class MembersOfPublisher(admin.TabularInline[Membership, Publisher]):
    """Superusers only: the list of users to choose from is the operator's, not a tenant's."""

    model = Membership
    extra = 0
    fields = ("user", "role")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_staff

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser


@admin.register(Publisher)
class PublisherAdmin(BaseAdmin[Publisher]):
    publisher_path = "id"
    inlines = (MembersOfPublisher,)
    fields = ("name", "time_zone", "uid", "created_at")
    readonly_fields = ("uid", "created_at")
    list_display = ("name", "time_zone", "created_at")
    search_fields = ("name",)

    def scope(
        self, rows: models.QuerySet[Publisher], publishers: models.QuerySet[Any, Any]
    ) -> models.QuerySet[Publisher]:
        return rows.filter(pk__in=publishers)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Publisher | None = None) -> bool:
        return self.has_add_permission(request)

"""Publishers. Members see the one they work for, superusers all; its people are on pages of its own."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from accounts.admin.base import BaseAdmin, JourneyForm
from accounts.current import current_membership
from accounts.models import Publisher, Role
from accounts.people.founding import update_publisher
from accounts.publishers import create_publisher


class PublisherForm(JourneyForm[Publisher]):
    class Meta:
        model = Publisher
        fields = ("name", "time_zone")

    def carry_out(self) -> Publisher:
        given = {"name": self.cleaned_data["name"], "time_zone": self.cleaned_data["time_zone"]}
        if self.instance.pk is None:
            return create_publisher(**given, actor=self.actor)
        return update_publisher(self.instance, **given, by=self.user, actor=self.actor)


@admin.register(Publisher)
class PublisherAdmin(BaseAdmin[Publisher]):
    form = PublisherForm
    publisher_path = "id"
    fields = ("name", "time_zone", "uid", "created_at")
    readonly_fields = ("uid", "created_at")
    list_display = ("name", "time_zone", "created_at")
    search_fields = ("name",)

    def links(self, request: HttpRequest, obj: Publisher) -> list[tuple[str, str]]:
        membership = current_membership(request)
        owns = membership is not None and membership.role == Role.OWNER and membership.publisher_id == obj.pk
        if not (owns or request.user.is_superuser):
            return []
        return [("Members", reverse("members", args=[obj.uid])), ("API keys", reverse("keys", args=[obj.uid]))]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Publisher | None = None) -> bool:
        return self.has_add_permission(request)

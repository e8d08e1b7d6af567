"""The audit log: who decided what, from which address. Nobody writes here, and only owners read."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.base import BaseAdmin
from accounts.models import AuditEntry, Role


@admin.register(AuditEntry)
class AuditEntryAdmin(BaseAdmin[AuditEntry]):
    addable = changeable = False
    readers = frozenset({Role.OWNER})
    list_display = ("at", "action", "actor", "object_id", "ip_address")
    list_filter = ("actor_kind",)
    search_fields = ("=object_id", "=actor", "=action")
    search_help_text = "The whole of an object's ID, of who acted, or of an action such as issue.started."
    fields = ("at", "action", "actor_kind", "actor", "ip_address", "object_type", "object_id", "detail", "publisher")
    readonly_fields = fields

    def may_write(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

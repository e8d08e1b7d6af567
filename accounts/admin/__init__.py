"""The admin of accounts, and the base that every other admin page stands on."""

from django.contrib import admin
from django.contrib.auth.models import Group
from django_dramatiq.models import Task

from accounts.admin.audit_log import AuditEntryAdmin
from accounts.admin.base import BaseAdmin, JourneyForm
from accounts.admin.mails import AccountMailAdmin
from accounts.admin.publishers import PublisherAdmin
from accounts.admin.steps import Step
from accounts.admin.users import UserAdmin

__all__ = ["AccountMailAdmin", "AuditEntryAdmin", "BaseAdmin", "JourneyForm", "PublisherAdmin", "Step", "UserAdmin"]

admin.site.site_header = "Courant"
admin.site.site_title = "Courant"
admin.site.index_title = "Overview"
# The overview and the path above each page lead everywhere; tables need the width.
admin.site.enable_nav_sidebar = False
# There is no page at "/" for people who sign in here.
admin.site.site_url = None
# Roles come from memberships. A task page would show arguments and tracebacks unescaped.
for _model in (Group, Task):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)

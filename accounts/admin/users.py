"""People who sign in. Only superusers see them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import forms as auth_forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.admin.lists import StrictLists
from accounts.audit import person, record
from accounts.links import end_links
from accounts.mailing import queue
from accounts.models import AccountMailKind, Membership, User
from accounts.people.standing import keep_owners_without
from core.errors import ConflictError

ACCESS = ("is_active", "is_staff", "is_superuser")


class NewUserForm(auth_forms.AdminUserCreationForm[User]):
    class Meta:
        model = User
        fields = ("email",)


class UserForm(auth_forms.UserChangeForm[User]):
    class Meta:
        model = User
        fields = "__all__"

    def clean(self) -> dict[str, Any] | None:
        """Leave every publisher an active owner; the page's transaction holds the locks until it has stored this."""
        cleaned = super().clean()
        if "is_active" in self.changed_data and not self.cleaned_data.get("is_active"):
            try:
                keep_owners_without(self.instance)
            except ConflictError as error:
                self.add_error("is_active", error.detail)
        return cleaned


class MembershipsOfUser(admin.TabularInline[Membership, User]):
    """Read here, changed on the pages of the publisher: they see to it that it keeps an owner."""

    model = Membership
    extra = 0
    fields = readonly_fields = ("publisher", "role", "limited", "created_at")
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(StrictLists, auth_admin.UserAdmin[User]):
    """Django's own pages, with the e-mail address in place of a user name and memberships for rights."""

    form = UserForm
    add_form = NewUserForm
    inlines = (MembershipsOfUser,)
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_staff", "is_superuser", "is_active")
    search_fields = ("email", "name")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("email", "password", "name")}),
        ("Access", {"fields": ACCESS}),
        ("Times", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "usable_password", "password1", "password2")}),)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Store a user, on record; of another address the old one is told."""
        super().save_model(request, obj, form, change)
        detail: dict[str, Any] = {
            "address": obj.email,
            "changed": sorted({"email", "name", *ACCESS}.intersection(form.changed_data)),
        }
        detail |= {name: getattr(obj, name) for name in ACCESS if name in form.changed_data}
        if "email" in form.changed_data:
            obj.vouch_for_address()
        if change and "email" in form.changed_data:
            detail["was"] = form.initial["email"]
            told = {"event": "email_changed", "from_email": detail["was"], "to_email": obj.email}
            queue(AccountMailKind.SECURITY_NOTICE, to=detail["was"], user=obj, detail=told)
        action = "user.changed" if change else "user.created"
        who = person(request)
        record(action, actor=who, publisher_id=None, object_type="user", object_id=str(obj.pk), detail=detail)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002  # Django's name
        """Set somebody's password: they are told, and it is on record; one's own is changed where everybody's is."""
        user = self.get_object(request, unquote(id))
        if user == request.user:
            return redirect("account_change_password")
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if user is not None and response.status_code == HTTPStatus.FOUND:
                end_links(user)
                queue(AccountMailKind.SECURITY_NOTICE, to=user.email, user=user, detail={"event": "password_set"})
                who = person(request)
                record("password.set", actor=who, publisher_id=None, object_type="user", object_id=str(user.pk))
        return response

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Somebody who leaves is made inactive: what they did keeps its name.
        return False

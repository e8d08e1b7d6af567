"""Subscribers with their subscriptions. States change only by the journeys of `newsletters.audience`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.http import HttpRequest

from accounts.admin import BaseAdmin, JourneyForm, Step
from accounts.current import limited_membership
from accounts.models import Membership
from core.json_field import JsonObjectField
from newsletters.admin.filters import SubscribedTo
from newsletters.audience.subscribing import erase_subscriber, subscribe, unsubscribe, update_subscriber
from newsletters.models import ConsentEvent, Newsletter, Subscriber, Subscription, SubscriptionState


class NewSubscriberForm(JourneyForm[Subscriber]):
    """One reader of one newsletter; somebody who left comes back only by their own confirmation."""

    newsletter = forms.ModelChoiceField(Newsletter.objects.none())
    consent_source = forms.CharField(
        max_length=40, help_text="How this person agreed, such as “asked by phone on 3 May”."
    )
    confirmed = forms.BooleanField(
        required=False,
        help_text="The person has already confirmed. Otherwise they get a mail that asks.",
    )

    class Meta:
        model = Subscriber
        fields = ("address", "name", "attributes")
        field_classes = {"attributes": JsonObjectField}

    def carry_out(self) -> Subscriber:
        given = self.cleaned_data
        return subscribe(
            given["newsletter"],
            address=given["address"],
            name=given["name"],
            attributes=given["attributes"] or {},
            consent_source=given["consent_source"],
            confirmed=given["confirmed"],
        ).subscriber


class SubscriberForm(JourneyForm[Subscriber]):
    class Meta:
        model = Subscriber
        fields = ("name", "attributes")
        field_classes = NewSubscriberForm.Meta.field_classes

    def carry_out(self) -> Subscriber:
        row = Subscriber.objects.get(pk=self.instance.pk)
        update_subscriber(row, name=self.cleaned_data["name"], attributes=self.cleaned_data["attributes"] or {})
        return row


class SubscriptionsOfSubscriber(admin.TabularInline[Subscription, Subscriber]):
    model = Subscription
    fields = readonly_fields = ("newsletter", "state", "changed_at", "consent")
    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        rows, membership = super().get_queryset(request), limited_membership(request)
        return rows if membership is None else _limited(rows, membership)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_staff

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="by whose word")
    def consent(self, row: Subscription) -> str:
        event = ConsentEvent.objects.filter(subscription=row).order_by("-id").first()
        return f"{event.source} {event.detail}".strip() if event else ""


def _leave(subscriber: Subscriber, *, membership: Membership | None = None) -> None:
    """End all subscriptions, or for a limited member those to the newsletters that it is limited to."""
    rows = Subscription.objects.filter(subscriber=subscriber).exclude(state=SubscriptionState.UNSUBSCRIBED)
    for subscription in rows if membership is None else _limited(rows, membership):
        unsubscribe(subscription.pk, source="admin")


def _limited(rows: QuerySet[Subscription], membership: Membership) -> QuerySet[Subscription]:
    return rows.filter(newsletter__member_limits__membership=membership, newsletter__deleted_at__isnull=True)


@admin.register(Subscriber)
class SubscriberAdmin(BaseAdmin[Subscriber]):
    limit_path = "subscriptions__newsletter__member_limits__membership"
    list_display = ("address", "name", "publisher", "newsletters", "created_at")
    list_filter = (SubscribedTo,)
    list_select_related = ("publisher",)
    search_fields = ("address_key",)
    search_help_text = "An address, or how it begins."
    steps = (
        Step(
            name="unsubscribe",
            label="Unsubscribe…",
            done="unsubscribed from every newsletter.",
            run=_leave,
            question="Unsubscribe these readers from every newsletter? They can come back only by their own request.",
        ),
        Step(
            name="erase",
            label="Erase…",
            done="erased.",
            run=erase_subscriber,
            question=(
                "Erase these readers with their attributes and consent log? The addresses stay suppressed by digest,"
                " and the accounting of past issues keeps their number. This cannot be undone."
            ),
            danger=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscriber]:
        membership, shown = limited_membership(request), Subscription.objects.select_related("newsletter")
        places = shown if membership is None else _limited(shown, membership)
        return super().get_queryset(request).prefetch_related(Prefetch("subscriptions", places))

    def scope_limited(self, rows: QuerySet[Subscriber], membership: Membership) -> QuerySet[Subscriber]:
        here = _limited(Subscription.objects.filter(subscriber=OuterRef("pk")), membership)
        return rows.filter(Exists(here))

    def has_change_permission(self, request: HttpRequest, obj: Subscriber | None = None) -> bool:
        # What a reader is called belongs to all newsletters, as the reader does.
        return limited_membership(request) is None and super().has_change_permission(request, obj)

    def steps_for(self, request: HttpRequest) -> Sequence[Step[Any]]:
        membership = limited_membership(request)
        if membership is None:
            return self.steps
        step = Step[Subscriber](
            name="unsubscribe",
            label="Unsubscribe…",
            done="unsubscribed from your newsletters.",
            run=functools.partial(_leave, membership=membership),
            question="Unsubscribe these readers from your newsletters? They can come back only by their own request.",
        )
        return (step,)

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Subscriber],
        search_term: str,
    ) -> tuple[QuerySet[Subscriber], bool]:
        term = search_term.strip().lower()
        return (queryset.filter(address_key__startswith=term) if term else queryset), False

    def get_fields(self, request: HttpRequest, obj: Subscriber | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("newsletter", "address", "name", "attributes", "consent_source", "confirmed")
        return ("uid", "publisher", "address", "name", "attributes", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Subscriber | None = None) -> tuple[str, ...]:
        return () if obj is None else ("uid", "publisher", "address", "created_at")

    def get_inlines(self, request: HttpRequest, obj: Subscriber | None) -> list[Any]:
        return [] if obj is None else [SubscriptionsOfSubscriber]

    def get_form(self, request: HttpRequest, obj: Subscriber | None = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = SubscriberForm if obj else NewSubscriberForm
        form = super().get_form(request, obj, change, **kwargs)
        if obj is None:
            pages = self.admin_site.get_model_admin(Newsletter)
            assert isinstance(pages, BaseAdmin)
            form.base_fields["newsletter"] = forms.ModelChoiceField(pages.writable(request))
        return form

    @admin.display(description="newsletters")
    def newsletters(self, row: Subscriber) -> str:
        return ", ".join(f"{one.newsletter.name} ({one.state})" for one in row.subscriptions.all())

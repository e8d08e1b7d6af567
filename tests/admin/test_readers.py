"""Readers, imports, suppressions, senders and keys in the admin."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from newsletters.audience.suppressing import is_suppressed
from newsletters.models import (
    ConsentEvent,
    Import,
    Newsletter,
    Notice,
    SenderIdentity,
    Subscriber,
    Subscription,
    SubscriptionState,
)
from tests import cast
from tests.admin.desks import Desk

SUBSCRIBERS = "admin:newsletters_subscriber_changelist"
NO_INLINES = {"subscriptions-TOTAL_FORMS": "0", "subscriptions-INITIAL_FORMS": "0"}


def new_subscriber(desk: Desk, **changes: str) -> dict[str, str]:
    form = {"newsletter": str(desk.newsletter.pk), "address": cast.ADA, "name": "Ada", "attributes": "{}"}
    return form | {"consent_source": "asked by phone", "confirmed": "on"} | changes


def test_a_reader_added_with_consent_is_active_and_logged(desk: Desk) -> None:
    answer = desk.client.post(reverse("admin:newsletters_subscriber_add"), new_subscriber(desk))
    assert answer.status_code == 302
    subscription = Subscription.objects.get()
    assert subscription.state == SubscriptionState.ACTIVE
    assert ConsentEvent.objects.filter(subscription=subscription).count() == 1


def test_a_wrong_address_is_an_error_beside_the_field(desk: Desk) -> None:
    answer = desk.client.post(reverse("admin:newsletters_subscriber_add"), new_subscriber(desk, address="no@@such"))
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors["address"]
    assert not Subscriber.objects.exists()


def test_a_line_break_forged_into_a_name_is_refused(desk: Desk) -> None:
    answer = desk.client.post(
        reverse("admin:newsletters_subscriber_add"), new_subscriber(desk, name="Ada\r\nBcc: x@example.org")
    )
    assert answer.context["adminform"].form.errors["name"]
    assert not Subscriber.objects.exists()


def test_the_address_and_the_state_of_a_reader_cannot_be_edited(desk: Desk) -> None:
    subscription = cast.make_reader(desk.newsletter)
    address = reverse("admin:newsletters_subscriber_change", args=[subscription.subscriber_id])
    form = {"name": "Ada L.", "attributes": '{"city": "Porto"}', "address": cast.BORIS}
    form |= {"subscriptions-TOTAL_FORMS": "1", "subscriptions-INITIAL_FORMS": "1"}
    form |= {"subscriptions-0-id": str(subscription.pk), "subscriptions-0-state": "unsubscribed"}
    assert desk.client.post(address, form).status_code == 302
    subscriber = Subscriber.objects.get()
    assert (subscriber.name, subscriber.attributes, subscriber.address) == ("Ada L.", {"city": "Porto"}, cast.ADA)
    subscription.refresh_from_db()
    assert subscription.state == SubscriptionState.ACTIVE


def test_unsubscribing_asks_first_and_then_leaves_every_newsletter(desk: Desk) -> None:
    subscription = cast.make_reader(desk.newsletter)
    form = {"action": "unsubscribe", "_selected_action": str(subscription.subscriber_id)}
    asked = desk.client.post(reverse(SUBSCRIBERS), form)
    assert asked.status_code == 200
    assert cast.ADA in asked.content.decode()
    subscription.refresh_from_db()
    assert subscription.state == SubscriptionState.ACTIVE
    desk.client.post(reverse(SUBSCRIBERS), form | {"confirmed": "yes"})
    subscription.refresh_from_db()
    assert subscription.state == SubscriptionState.UNSUBSCRIBED


def test_a_reader_of_another_publisher_cannot_be_unsubscribed(desk: Desk, other_desk: Desk) -> None:
    subscription = cast.make_reader(other_desk.newsletter)
    form = {"action": "unsubscribe", "_selected_action": str(subscription.subscriber_id), "confirmed": "yes"}
    desk.client.post(reverse(SUBSCRIBERS), form)
    subscription.refresh_from_db()
    assert subscription.state == SubscriptionState.ACTIVE


def test_readers_are_searched_by_the_beginning_of_their_address(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    cast.make_reader(desk.newsletter, address=cast.BORIS)
    page = desk.client.get(reverse(SUBSCRIBERS), {"q": "BOR"}).content.decode()
    assert cast.BORIS in page
    assert cast.ADA not in page


def upload(desk: Desk, content: bytes) -> dict[str, object]:
    file = SimpleUploadedFile("readers.csv", content, content_type="text/csv")
    return {"newsletter": desk.newsletter.pk, "file": file, "consent_source": "paper list"}


def test_an_uploaded_file_becomes_an_import(desk: Desk) -> None:
    content = b"email,name\nada@example.org,Ada\n"
    answer = desk.client.post(reverse("admin:newsletters_import_add"), upload(desk, content))
    assert answer.status_code == 302
    accepted = Import.objects.get()
    assert (accepted.total, accepted.consent_source, accepted.created_by) == (1, "paper list", desk.user)


def test_a_file_without_the_header_is_refused_on_the_form(desk: Desk) -> None:
    answer = desk.client.post(reverse("admin:newsletters_import_add"), upload(desk, b"name\nAda\n"))
    assert answer.status_code == 200
    assert "email" in str(answer.context["adminform"].form.errors)
    assert not Import.objects.exists()


def test_a_suppressed_address_is_found_by_its_address(desk: Desk) -> None:
    form = {"publisher": desk.publisher.pk, "address": cast.ADA}
    assert desk.client.post(reverse("admin:newsletters_suppression_add"), form).status_code == 302
    subscriber = cast.make_subscriber(desk.publisher)
    assert is_suppressed(desk.publisher.pk, bytes(subscriber.address_digest))
    listed = reverse("admin:newsletters_suppression_changelist")
    assert "1 suppression" in desk.client.get(listed, {"q": "Ada@Example.org"}).content.decode()
    assert "0 suppressions" in desk.client.get(listed, {"q": cast.BORIS}).content.decode()


def test_a_new_sender_is_asked_to_verify_itself(desk: Desk) -> None:
    form = {"publisher": desk.publisher.pk, "address": "new@gazette.example"}
    assert desk.client.post(reverse("admin:newsletters_senderidentity_add"), form).status_code == 302
    sender = SenderIdentity.objects.get(address="new@gazette.example")
    assert Notice.objects.filter(sender=sender).count() == 1


def new_newsletter(desk: Desk, **changes: str) -> dict[str, str]:
    form = {"publisher": str(desk.publisher.pk), "name": "Daily", "slug": "daily", "opt_in": "double"}
    form |= {"from_address": "daily@gazette.example", "postal_address": "1 Square", "on_uncertain": "resend"}
    return form | changes


def test_a_newsletter_is_created_with_its_sender(desk: Desk) -> None:
    answer = desk.client.post(reverse("admin:newsletters_newsletter_add"), new_newsletter(desk))
    assert answer.status_code == 302
    assert Newsletter.objects.get(slug="daily").sender.address == "daily@gazette.example"


def test_a_newsletters_taken_slug_is_an_error_on_the_form(desk: Desk) -> None:
    form = new_newsletter(desk, slug=desk.newsletter.slug)
    answer = desk.client.post(reverse("admin:newsletters_newsletter_add"), form)
    assert answer.status_code == 200
    assert answer.context["errors"]
    assert Newsletter.objects.count() == 1


def test_deleting_a_newsletter_hides_it(desk: Desk) -> None:
    listed = reverse("admin:newsletters_newsletter_changelist")
    form = {"action": "delete_newsletter", "_selected_action": str(desk.newsletter.pk), "confirmed": "yes"}
    assert desk.newsletter.name not in desk.client.post(listed, form, follow=True).context["cl"].result_list
    desk.newsletter.refresh_from_db()
    assert desk.newsletter.deleted_at is not None


@pytest.mark.dialects
@pytest.mark.parametrize("forged", ["abc", "9" * 30, "1.5", "²"])
def test_a_step_on_what_is_no_rows_id_is_refused_with_a_sentence(desk: Desk, forged: str) -> None:
    form = {"action": "erase", "_selected_action": forged, "confirmed": "yes"}
    answer = desk.client.post(reverse(SUBSCRIBERS), form, follow=True)
    assert "There are no such rows." in answer.content.decode()

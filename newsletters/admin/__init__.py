"""The admin's pages, one module a noun. Buttons call the same functions as the API."""

from newsletters.admin.deliveries import DeliveryAdmin
from newsletters.admin.destinations import DestinationAdmin
from newsletters.admin.imports import ImportAdmin
from newsletters.admin.issues import IssueAdmin
from newsletters.admin.newsletters import NewsletterAdmin
from newsletters.admin.notices import NoticeAdmin
from newsletters.admin.senders import SenderIdentityAdmin
from newsletters.admin.subscribers import SubscriberAdmin
from newsletters.admin.suppressions import SuppressionAdmin

__all__ = [
    "DeliveryAdmin",
    "DestinationAdmin",
    "ImportAdmin",
    "IssueAdmin",
    "NewsletterAdmin",
    "NoticeAdmin",
    "SenderIdentityAdmin",
    "SubscriberAdmin",
    "SuppressionAdmin",
]

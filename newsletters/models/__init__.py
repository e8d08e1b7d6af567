from newsletters.models.active_courier import ActiveCourier
from newsletters.models.audience_import import Import, ImportPart, ImportRowError
from newsletters.models.delivery import Delivery, DeliveryState
from newsletters.models.destination import Destination
from newsletters.models.issue import BodyFormat, Edition, Issue, IssueState
from newsletters.models.key_limit import KeyLimit
from newsletters.models.member_limit import InvitationLimit, MemberLimit
from newsletters.models.newsletter import Newsletter, OnUncertain, OptIn
from newsletters.models.notice import Notice, NoticeKind, NoticeState
from newsletters.models.sender import SenderIdentity, SenderPace
from newsletters.models.subscriber import Subscriber
from newsletters.models.subscription import ConsentEvent, Subscription, SubscriptionState
from newsletters.models.suppression import Suppression, SuppressionReason

__all__ = [
    "ActiveCourier",
    "BodyFormat",
    "ConsentEvent",
    "Delivery",
    "DeliveryState",
    "Destination",
    "Edition",
    "Import",
    "ImportPart",
    "ImportRowError",
    "InvitationLimit",
    "Issue",
    "IssueState",
    "KeyLimit",
    "MemberLimit",
    "Newsletter",
    "Notice",
    "NoticeKind",
    "NoticeState",
    "OnUncertain",
    "OptIn",
    "SenderIdentity",
    "SenderPace",
    "Subscriber",
    "Subscription",
    "SubscriptionState",
    "Suppression",
    "SuppressionReason",
]

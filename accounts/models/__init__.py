from accounts.models.account_mail import AccountMail, AccountMailKind
from accounts.models.api_key import ApiKey, Scope
from accounts.models.audit_entry import ActorKind, AuditEntry
from accounts.models.invitation import Invitation
from accounts.models.known_device import KnownDevice
from accounts.models.logged_request import LoggedRequest
from accounts.models.publisher import Membership, Publisher, Role
from accounts.models.used_step import UsedStep
from accounts.models.user import User

__all__ = [
    "AccountMail",
    "AccountMailKind",
    "ActorKind",
    "ApiKey",
    "AuditEntry",
    "Invitation",
    "KnownDevice",
    "LoggedRequest",
    "Membership",
    "Publisher",
    "Role",
    "Scope",
    "UsedStep",
    "User",
]

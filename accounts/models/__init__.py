from accounts.models.api_key import ApiKey, Scope
from accounts.models.publisher import Membership, Publisher, Role
from accounts.models.user import User

__all__ = ["ApiKey", "Membership", "Publisher", "Role", "Scope", "User"]

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower, Now

from accounts.models.publisher import Role
from core.public_ids import encode, uuid7


class Invitation(models.Model):
    """An invitation of an address to join a publisher; open until it is accepted, withdrawn or too old.

    A `limited` one is for chosen newsletters, which are written where those are.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="invitations")
    address = models.EmailField(max_length=254)
    role = models.CharField(max_length=10, choices=Role)
    limited = models.BooleanField(default=False, db_default=False)
    invited_by = models.ForeignKey("accounts.User", models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey("accounts.User", models.SET_NULL, null=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "publisher",
                Lower("address"),
                condition=models.Q(accepted_at__isnull=True, withdrawn_at__isnull=True),
                name="invitation_open_once",
            ),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="invitation_role_known"),
            models.CheckConstraint(
                condition=models.Q(limited=False) | ~models.Q(role=Role.OWNER), name="invitation_owner_unlimited"
            ),
            models.CheckConstraint(
                condition=models.Q(accepted_at__isnull=True) | models.Q(withdrawn_at__isnull=True),
                name="invitation_ends_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.address} to {self.publisher} as {self.role}"

    @property
    def uid(self) -> str:
        return encode("inv", self.public_id)

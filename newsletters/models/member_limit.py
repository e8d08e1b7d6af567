from __future__ import annotations

from django.db import models


class MemberLimit(models.Model):
    """A newsletter that a `limited` member may reach; they reach what belongs to these and nothing else."""

    membership = models.ForeignKey("accounts.Membership", models.CASCADE, related_name="limits", db_index=False)
    newsletter = models.ForeignKey("newsletters.Newsletter", models.CASCADE, related_name="member_limits")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["membership", "newsletter"], name="member_limit_once")]

    def __str__(self) -> str:
        return f"{self.membership}: {self.newsletter}"


class InvitationLimit(models.Model):
    """A newsletter that a `limited` invitation is for; who accepts it gets the same limits."""

    invitation = models.ForeignKey("accounts.Invitation", models.CASCADE, related_name="limits", db_index=False)
    newsletter = models.ForeignKey("newsletters.Newsletter", models.CASCADE, related_name="invitation_limits")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["invitation", "newsletter"], name="invitation_limit_once")]

    def __str__(self) -> str:
        return f"{self.invitation}: {self.newsletter}"

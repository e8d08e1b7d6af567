from __future__ import annotations

from django.db import models

from core.models import QueuedMail


class AccountMailKind(models.TextChoices):
    """Which mail about an account.

    Asks the owner of an address to verify it, tells them that it has an account already, lets them set a new
    password, invites them to a publisher, or tells them of something that concerns their account's security.
    """

    VERIFY_ADDRESS = "verify_address"
    ADDRESS_TAKEN = "address_taken"
    RESET_PASSWORD = "reset_password"  # noqa: S105  # a kind of mail
    INVITATION = "invitation"
    SECURITY_NOTICE = "security_notice"


class AccountMail(QueuedMail):
    """One mail about somebody's account.

    `user` is whose account it is about, `detail` what a security notice tells: `event` and what belongs to it.
    `password_mark` is a digest of the password at the time of the request, after whose change nobody needs the mail.
    `intent_at` stands while nobody knows whether the relay has the mail; it is `uncertain`, for ever, when a worker
    or a connection was lost in that time, so that a second copy may have gone out.
    """

    uid_prefix = "aml"
    kind = models.CharField(max_length=20, choices=AccountMailKind)
    user = models.ForeignKey("accounts.User", models.CASCADE, null=True, blank=True, related_name="mails")
    email_address = models.ForeignKey("account.EmailAddress", models.CASCADE, null=True, blank=True, related_name="+")
    invitation = models.ForeignKey("accounts.Invitation", models.CASCADE, null=True, blank=True, related_name="mails")
    detail = models.JSONField(default=dict, blank=True)
    password_mark = models.CharField(max_length=32, blank=True)
    intent_at = models.DateTimeField(null=True)
    uncertain = models.BooleanField(default=False, db_default=False)

    class Meta(QueuedMail.Meta):
        verbose_name = "account mail"
        constraints = [
            *QueuedMail.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(kind=AccountMailKind.VERIFY_ADDRESS, user__isnull=False, email_address__isnull=False)
                | models.Q(kind=AccountMailKind.ADDRESS_TAKEN)
                | models.Q(kind=AccountMailKind.RESET_PASSWORD, user__isnull=False)
                | models.Q(kind=AccountMailKind.INVITATION, invitation__isnull=False)
                | models.Q(kind=AccountMailKind.SECURITY_NOTICE, user__isnull=False, detail__has_key="event"),
                name="account_mail_is_about_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} mail: {self.state}"

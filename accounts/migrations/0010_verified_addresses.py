"""Log-in goes by verified addresses: those of users from before sign-up count as such."""

from typing import Any

from django.db import migrations


def vouch_for_addresses(apps: Any, schema_editor: Any) -> None:
    User, EmailAddress = apps.get_model("accounts", "User"), apps.get_model("account", "EmailAddress")
    users = User.objects.exclude(pk__in=EmailAddress.objects.values("user_id")).exclude(email="")
    EmailAddress.objects.bulk_create(
        (
            EmailAddress(user_id=pk, email=email.lower(), verified=True, primary=True)
            for pk, email in users.values_list("pk", "email")
        ),
        batch_size=1_000,
    )


class Migration(migrations.Migration):
    dependencies = [("accounts", "0009_account_mail"), ("account", "0009_emailaddress_unique_primary_email")]
    operations = [migrations.RunPython(vouch_for_addresses, migrations.RunPython.noop, elidable=True)]

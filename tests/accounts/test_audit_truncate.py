"""PostgreSQL's TRUNCATE passes by the triggers of rows; SQLite has none."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection

from accounts import audit
from accounts.models import AuditEntry
from tests import cast


@pytest.mark.django_db(transaction=True)
def test_truncate_empties_the_log_only_together_with_every_publisher() -> None:
    for publisher_id in (cast.make_publisher().pk, None):
        audit.record(
            "issue.sent",
            actor=audit.SYSTEM,
            publisher_id=publisher_id,
            object_type="issue",
            object_id="iss_1",
            detail={},
        )
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE accounts_auditentry")
    assert AuditEntry.objects.count() == 2
    # As an installation is emptied before a dump is loaded into it.
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE accounts_publisher, accounts_auditentry CASCADE")
    assert not AuditEntry.objects.exists()

"""Every check, in the order in which it is made."""

from __future__ import annotations

from newsletters.doctor import (
    broker,
    capacity,
    configuration,
    database,
    dns_records,
    guard,
    mail,
    migrations,
    postgresql,
    self_test,
    sqlite,
    work,
)
from newsletters.doctor.findings import Check, Level

CHECKS = (
    Check("configuration.site", configuration.site),
    Check("configuration.sending", configuration.sending),
    Check("database.reach", database.reach, late=Level.ERROR),
    Check("database.durability", postgresql.durability, needs_database=True),
    Check("database.housekeeping", postgresql.housekeeping, needs_database=True),
    Check("database.rights", postgresql.rights, needs_database=True),
    Check("database.pooler", postgresql.pooler, needs_database=True),
    Check("database.vacuum", postgresql.vacuum, needs_database=True),
    Check("database.clock", database.clock, needs_database=True),
    Check("database.capacity", capacity.connections, needs_database=True),
    Check("database.file", sqlite.settings_of_file, needs_database=True),
    Check("database.integrity", sqlite.integrity, needs_database=True),
    Check("migrations.state", migrations.state, needs_database=True, late=Level.ERROR),
    Check("broker.state", broker.state, seconds=8, late=Level.ERROR),
    Check("broker.last_report", broker.last_report, needs_schema=True),
    Check("work.files", capacity.files),
    Check("work.processes", work.processes, needs_schema=True),
    Check("work.guard", guard.restore, needs_schema=True),
    Check("work.issues", work.issues, needs_schema=True),
    Check("work.deliveries", work.deliveries, needs_schema=True),
    Check("work.others", work.others, needs_schema=True),
    Check("mail.relay", mail.relay, seconds=10, late=Level.ERROR),
    Check("mail.size", mail.size, seconds=6, needs_schema=True),
    Check("mail.self_test", self_test.send, seconds=15, late=Level.ERROR),
    Check("dns.settings", dns_records.domains_of_settings, seconds=8),
    Check("dns.senders", dns_records.domains_of_senders, seconds=8, needs_schema=True),
)

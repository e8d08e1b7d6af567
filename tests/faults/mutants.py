"""Known ways to break the promises, and the scenario that must find each: `tests/faults/mutation.py` tries them.

Each defect is one that a sensible person could write. A suite that lets one pass proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

CANARIES = "tests/faults/test_canaries.py::test_"
KILL = CANARIES + "f01_a_killed_worker_doubles_the_mails_in_hand_and_no_others"
SLOW_DOT = CANARIES + "f26_a_final_dot_slower_than_the_lease_casts_doubt_on_nobody"
STATEMENTS = "tests/delivery/test_statements.py::test_"
COPIES = "copies too many"
UNFLAGGED = r"'unflagged': \['reader-"

LANE = "newsletters/delivery/lane.py"
POSTGRESQL = "newsletters/delivery/dialects/postgresql.py"
RESCUE = "newsletters/delivery/rescue.py"
SENT_EARLY = """early = Outcome(Verdict.SENT, Phase.DOT, None)
            early = settlement(row, gate.intent_id, early, on_uncertain=self.run.facts.on_uncertain)
            await self.run.ledger.turn([early])
            outcome = await self._attempt(mail, gate)
"""
TOLD_BY_THE_BATCH = """settled = []
            if len(self._settled) >= 50:
                settled, self._settled = self._settled, []
            answer ="""
A_DAY_AHEAD = "datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)"
CONSTRAINT = """        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(fields=("issue", "subscription"), name="delivery_once"),
        ),
"""
ONE_STATEMENT = """if len(commands) == 1:
            ((settle, values),), gate = commands, GATE.sql
            for number in (3, 2, 1):
                gate = gate.replace(b"$%d:" % number, b"$%d:" % (number + len(values)))
            sql = b"WITH settled AS (" + settle.sql + b" RETURNING d.id)" + gate
            commands = [(Statement(settle.name + b"_and_gate", sql), [*values, *_gate_columns(gates)])]
            *_, permitted = _run(*commands)
        else:
            *_, permitted = _run(*commands, (GATE, _gate_columns(gates)))
"""


@dataclass(frozen=True)
class Edit:
    """One change of a file. `old` occurs in it exactly once."""

    path: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """Return the file's text with the change; raise ValueError when what it changes is not there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.path} has changed, this occurs {text.count(self.old)} times in it:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Mutant:
    """A defect, the promise that it breaks, and the scenario that must be red with it.

    `sign` is a pattern that the failed assertion's message must have: red for another reason does not count.
    """

    name: str
    breaks: str
    scenario: str
    sign: str
    edits: tuple[Edit, ...]


MUTANTS = [
    Mutant(
        "sent-before-smtp",
        "sent means sent: what the relay refuses is called sent",
        CANARIES + "f29_only_a_mail_that_the_relay_took_is_called_sent",
        r"'false_sent': \['reader-3@example.org', 'reader-7@example.org'\]",
        (
            Edit(LANE, "outcome = await self._attempt(mail, gate)\n", SENT_EARLY),
            Edit(LANE, "import Outcome, Verdict\n", "import Outcome, Phase, Verdict\n"),
        ),
    ),
    Mutant(
        "finalise-per-batch",
        "few copies: a kill doubles a batch instead of the mail in hand",
        KILL,
        COPIES,
        (Edit(LANE, "settled, self._settled = self._settled, []\n            answer =", TOLD_BY_THE_BATCH),),
    ),
    Mutant(
        "no-lease-check",
        "few and known copies: a worker that slept sends what others have sent since, and no row says so",
        CANARIES + "f02_a_worker_that_slept_drops_the_rows_that_its_lanes_had_taken",
        UNFLAGGED,
        (Edit(POSTGRESQL, "AND d.lease_token = v.lease\n  AND i.id", "\n  AND i.id"),),
    ),
    Mutant(
        "no-intent",
        "known copies: nobody knows that a dead worker's mail may have left",
        KILL,
        UNFLAGGED,
        (Edit(POSTGRESQL, "SET gated = true, intent_id", "SET gated = false, intent_id"),),
    ),
    Mutant(
        "no-publisher-confirms",
        "a true /readyz: bells for a deleted queue vanish and count as rung (the clock rings again: no reader waits)",
        CANARIES + "f05_a_doorbell_to_a_deleted_queue_is_stored_or_said_to_have_failed",
        r"assert 0 == 1",
        (Edit("config/broker.py", '"confirm_delivery": True', '"confirm_delivery": False'),),
    ),
    Mutant(
        "synchronous-commit-off",
        "no copies while the database restarts: a killed one forgets what it said is durable",
        "tests/faults/test_databases.py::"
        "test_f12_f13_live_workers_keep_their_outcomes_while_the_database_is_away[redis-kill_database]",
        rf"{COPIES}|'(unflagged|false_sent)'",
        (
            Edit(
                "tests/services/postgresql.py",
                '"autovacuum_naptime": "5s"}',
                '"autovacuum_naptime": "5s", "synchronous_commit": "off"}',
            ),
        ),
    ),
    Mutant(
        "rescue-on-the-worker-s-clock",
        "clocks do not matter: one that is a day ahead takes every row from living workers",
        SLOW_DOT,
        "in doubt: ",
        (
            Edit(RESCUE, "lease_until__lt=Now()", f"lease_until__lt={A_DAY_AHEAD}"),
            Edit(RESCUE, "from typing import Any\n", "import datetime\nfrom typing import Any\n"),
        ),
    ),
    Mutant(
        "no-unique-constraint",
        "exact fan-out: one that begins again sends every mail twice",
        CANARIES + "f20_a_fan_out_that_begins_again_adds_nobody",
        r"Counter\(\{'reader-\d+@example.org': 1",
        (
            Edit("newsletters/migrations/0004_delivery_storage.py", CONSTRAINT, ""),
            Edit(
                "newsletters/delivery/dialects/postgresql_fan_out.py",
                "ON CONFLICT DO NOTHING RETURNING id",
                "RETURNING id",
            ),
        ),
    ),
    Mutant(
        "finish-without-fan-out",
        "sent means sent: an issue is called sent before it has readers",
        CANARIES + "f20_an_issue_waits_for_its_fan_out",
        r"assert 'sent' == 'sending'",
        (
            Edit(RESCUE, "done = _UNDER_WAY.filter(fan_out_done_at__isnull=False)", "done = _UNDER_WAY"),
            # The constraint alone stops it too, by an error at every tick.
            Edit(
                "newsletters/migrations/0001_initial.py",
                "models.Q(('fan_out_done_at__isnull', False), ('finished_at__isnull', False))",
                "models.Q(('finished_at__isnull', False))",
            ),
        ),
    ),
    Mutant(
        "time-limit",
        "poison is contained: after 1 s a suspect is left to itself, and neighbours begin beside it",
        CANARIES + "f15_a_mail_that_may_have_killed_its_worker_is_alone",
        r"assert \[\(\d+,\)\] == \[\(0,\)\]",
        (Edit("newsletters/actors.py", 'time_limit=float("inf")', "time_limit=1_000"),),
    ),
    Mutant(
        "settle-and-gate-in-one-statement",
        "no copies: both see the rows as they were before, and what has just been sent is permitted once more",
        STATEMENTS + "settle_and_gate_go_in_one_turn_settle_first",
        r"assert \{\d+, \d+\} == \{\d+\}|assert 'sending' == 'sent'",
        (Edit(POSTGRESQL, "*_, permitted = _run(*commands, (GATE, _gate_columns(gates)))\n", ONE_STATEMENT),),
    ),
    Mutant(
        "settle-without-intent",
        "sent means sent: an outcome that was superseded closes a row whose mail somebody else is sending",
        STATEMENTS + "sent_with_a_superseded_intent_settles_nothing",
        r"assert 'sent' == 'sending'",
        (
            Edit(POSTGRESQL, "WHERE d.id = v.id AND d.intent_id = v.intent AND", "WHERE d.id = v.id AND"),
            Edit(POSTGRESQL, "v.state = 'sent' AND d.intent_id = v.intent AND", "v.state = 'sent' AND"),
        ),
    ),
    Mutant(
        "lease-never-renewed",
        "no doubt without a fault: a mail that takes longer than a lease is taken for a dead worker's",
        SLOW_DOT,
        "in doubt: ",
        (Edit("newsletters/delivery/ledger.py", "if time.monotonic() >= self._renew_at:", "if self is None:"),),
    ),
]

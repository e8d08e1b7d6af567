"""F31: the web process is killed after it has committed and before it has answered."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tests.faults.stage import Stage, meanwhile
from tests.services import editor
from tests.services.processes import wait_until
from tests.services.tcp_proxy import TcpProxy

READERS = 100
STARTS = "SELECT count(*) FROM accounts_auditentry WHERE action = 'issue.started'"


def test_f31_a_request_whose_answer_died_with_its_process_is_answered_again_and_done_once(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(readers=READERS)
    path, key = f"/issues/{stage.issue_id}/send", {"Idempotency-Key": "kept through a kill"}

    def ask() -> None:
        with contextlib.suppress(OSError):
            stage.site.call("POST", path, headers=key)
            unanswered.clear()

    unanswered = [True]
    with TcpProxy(stage.database.port) as database:
        stage.site.kill_web()
        stage.site.start_web(**stage.by_way_of(DATABASE_URL=database))
        # The COMMIT of what keeps the answer: the database takes it, and nobody hears of it.
        database.hold_replies_after(b"core_idempotencyrecord", b"COMMIT")
        asking = meanwhile(ask)
        assert database.held.wait(180)
        wait_until(lambda: bool(kept(stage)), "the answer is committed", seconds=60)
        stage.site.kill_web()
        asking.join()
    assert unanswered
    stage.site.start_web()
    again = stage.site.call("POST", path, headers=key)
    assert (again.status, again.headers["Idempotency-Replayed"], [again.body]) == (202, "true", kept(stage))
    other = editor.write_issue(stage.site, stage.newsletter_id)
    assert stage.site.call("POST", f"/issues/{other}/send", headers=key).status == 422
    assert stage.query(STARTS) == [(1,)]
    stage.finish().require()


def kept(stage: Stage) -> list[bytes]:
    return [bytes(body) for (body,) in stage.query("SELECT body FROM core_idempotencyrecord WHERE status = 202")]  # type: ignore[call-overload]

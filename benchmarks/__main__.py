"""`python -m benchmarks`: measure what was asked for and print the table.

Parts that are compared with one another run in turn, round by round, so that their ratios are of the same
minutes. Everything that was started ends with the run, on Ctrl-C and SIGTERM too.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from benchmarks import (
    delivery,
    fairness,
    fan_out,
    hot_requests,
    imports,
    limit,
    options,
    posts,
    rate,
    report,
    sign_ups,
    slow,
    tarpit,
    tutorial,
)
from benchmarks.figures import Figures
from benchmarks.stage import Stage, describe_machine
from tests.services.environment import ROOT

Part = tuple[str, Callable[[Stage], None]]
# The parts of a group take turns.
ROUNDS: list[list[Part]] = [
    [
        ("limit", limit.measure),
        ("baseline", tutorial.measure),
        ("rabbitmq", lambda stage: delivery.measure(stage, stage.rabbitmq)),
        ("redis", lambda stage: delivery.measure(stage, stage.redis)),
    ],
    [("slow", slow.measure)],
    [("imports", imports.measure)],
    [("requests", hot_requests.measure)],
    [("sign_ups", sign_ups.measure)],
    [("posts", posts.measure), ("fan_out", fan_out.measure)],
]
ONCE: list[Part] = [
    ("memory", fan_out.measure_memory),
    ("fairness", fairness.measure),
    ("links", sign_ups.measure_links),
    ("rate", rate.measure),
    ("tarpit", tarpit.measure),
    ("statements", delivery.count_statements),
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options.parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.chdir(ROOT)
    figures = Figures()
    figures.remark(describe_machine())
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            stage = Stage(chosen, figures, stack)
            try:
                _measure_all(stage)
            finally:
                # Nothing may interrupt the clearing up.
                for number in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
    finally:
        if len(figures.values) > 0:
            figures.remark(f"Measured in {(time.monotonic() - began) / 60:.1f} minutes.")
            print("\n".join(["", *report.table(figures)]))
            if chosen.json:
                figures.write(chosen.json)
    if figures.failed:
        sys.exit(f"failed: {'; '.join(figures.failed)}")


def _measure_all(stage: Stage) -> None:
    rounds = stage.options.rounds
    for group in ROUNDS:
        for number in range(rounds):
            # Back and forth, so that none always follows the same other.
            for part in group if number % 2 == 0 else reversed(group):
                _measure(stage, part, f"round {number + 1} of {rounds}")
    for part in ONCE:
        _measure(stage, part, "once")


def _measure(stage: Stage, part: Part, turn: str) -> None:
    name, measure = part
    if name in stage.options.parts:
        print(f"{time.strftime('%H:%M:%S')}  {name}, {turn}", file=sys.stderr, flush=True)
        try:
            measure(stage)
        except Exception:  # noqa: BLE001  # the other parts are worth having
            traceback.print_exc()
            stage.figures.failed.append(f"{name}, {turn}")


if __name__ == "__main__":
    main()

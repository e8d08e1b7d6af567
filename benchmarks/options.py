"""What a person may ask of `make bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The letters of the parts are those of the table.
PARTS = {
    "limit": "a",
    "baseline": "b",
    "rabbitmq": "c",
    "redis": "d",
    "fan_out": "e",
    "memory": "g",
    "slow": "h",
    "posts": "i",
    "imports": "j",
    "requests": "k",
    "sign_ups": "l",
    "fairness": "",
    "links": "",
    "rate": "",
    "tarpit": "",
    "statements": "",
}


@dataclass(frozen=True)
class Options:
    """How much is measured; the defaults are what docs/performance.md was made with."""

    parts: frozenset[str] = frozenset(PARTS)
    rounds: int = 3
    readers: int = 50_000
    many_readers: int = 1_000_000
    baseline_readers: int = 5_000
    slow_readers: int = 40_000
    running_readers: int = 200_000
    posts: int = 200
    sign_ups: int = 300
    rate_seconds: int = 60
    request_seconds: int = 10
    # Empty: what an operator gets who sets nothing.
    processes: str = ""
    lanes: str = ""
    pacing: str = ""
    uneven: bool = False
    json: Path | None = None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Return what the command line asks for; ends the program with a message when that is nonsense."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(f"{letter}={name}" if letter else name for name, letter in PARTS.items())
    parser.add_argument("--only", type=_parts, default=Options.parts, metavar="PARTS", help=f"of {names}")
    counts = {
        "rounds": "times that each part is measured; the median counts",
        "readers": "of the issues of c and d",
        "many-readers": "of e, f, g, i and rows of j",
        "baseline-readers": "of b, whose rate is steady",
        "slow-readers": "of h and of the tarpit",
        "running-readers": "of the issue during which something small leaves (fairness, links)",
        "posts": "issues sent in i for each audience",
        "sign-ups": "in l for each state of broker and relay",
        "request-seconds": "that each address of k is loaded",
        "rate-seconds": "during which the rate limit is counted",
    }
    for name, text in counts.items():
        default = getattr(Options, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=_count, default=default, help=f"{text} (default {default:,})")
    parser.add_argument("--processes", default="", help="WORKER_PROCESSES")
    parser.add_argument("--lanes", default="", help="DELIVERY_LANES")
    parser.add_argument("--pacing", default="", choices=["", "0", "1"], help="DESTINATION_PACING")
    parser.add_argument("--uneven", action="store_true", help="half of the readers at two domains")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    found = vars(parser.parse_args(arguments))
    return Options(parts=found.pop("only"), **found)


def _parts(text: str) -> frozenset[str]:
    by_letter = {letter: name for name, letter in PARTS.items() if letter} | {"f": "fan_out"}
    asked = [by_letter.get(word, word) for word in text.replace(",", " ").split()]
    unknown = sorted(set(asked) - set(PARTS))
    if unknown or not asked:
        raise argparse.ArgumentTypeError(f"unknown part: {', '.join(unknown) or 'none named'}")
    return frozenset(asked)


def _count(text: str) -> int:
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number

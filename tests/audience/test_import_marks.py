from __future__ import annotations

import hashlib
import random

from newsletters.audience.import_marks import BYTES, Marks


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def test_a_digest_is_new_once() -> None:
    marks = Marks(10_000)
    chance = random.Random(1)  # noqa: S311  # the same numbers on each run
    numbers = [chance.randrange(7_000) for _ in range(10_000)]
    known = set[int]()
    for number in numbers:
        assert marks.add(digest(number)) is (number not in known)
        known.add(number)


def test_digests_that_share_a_place_or_a_half_are_told_apart() -> None:
    marks = Marks(4)
    same_place = [bytes([high, *[0] * 6, 1, *[0] * 24]) for high in range(4)]
    same_first_half = [bytes(8) + bytes([number]) * 24 for number in range(1, 4)]
    last_place = [b"\xff" * 8 + bytes([number]) * 24 for number in range(3)]
    every = same_place + same_first_half + last_place
    assert [marks.add(each) for each in every] == [True] * len(every)
    assert [marks.add(each) for each in every] == [False] * len(every)


def test_what_a_part_remembers_is_known_again() -> None:
    remembered = b"".join(digest(number)[:BYTES] for number in range(100))
    marks = Marks(200)
    marks.load(remembered)
    assert [number for number in range(200) if marks.add(digest(number))] == list(range(100, 200))


def test_no_more_than_half_of_the_places_are_taken_by_the_largest_file() -> None:
    for most in (0, 511, 512, 513, 1_000_000):
        assert len(Marks(most)._first) >= 2 * most
    assert Marks(1_000_000)._first.nbytes + Marks(1_000_000)._second.nbytes < 35_000_000

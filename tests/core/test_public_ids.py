from __future__ import annotations

import time
import uuid

from core.public_ids import many_uuid7, uuid7


def test_many_ids_are_what_one_is_and_ascend() -> None:
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(text) for text in many_uuid7(10_000)]
    after = time.time_ns() // 1_000_000
    for each in (*made, uuid7()):
        assert (each.version, each.variant) == (7, uuid.RFC_4122)
    assert all(before <= each.int >> 80 <= after for each in made)
    assert len(set(made)) == 10_000
    assert [each.int >> 64 for each in made] == sorted(each.int >> 64 for each in made)
    assert many_uuid7(0) == []
    # All random bits vary, and none of them is lost.
    bits = [each.int & (1 << 62) - 1 for each in made]
    assert all(4_000 < sum(number >> place & 1 for number in bits) < 6_000 for place in range(62))

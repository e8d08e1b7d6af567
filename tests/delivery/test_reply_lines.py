"""Replies are the same wherever the network cuts them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletters.delivery.replies import Reply, read_reply
from newsletters.delivery.reply_lines import GARBAGE, MAX_REPLY_BYTES, ReplyLines

WIRE = b"250 2.1.0 ok\r\n550-5.1.1 nobody\r\n550 5.1.1 here\r\n354 go\r\n250\r\n"
SAID = (
    read_reply(250, b"2.1.0 ok"),
    read_reply(550, b"5.1.1 nobody 5.1.1 here"),
    read_reply(354, b"go"),
    read_reply(250, b""),
)


def hear(*segments: bytes) -> tuple[Reply, ...]:
    lines = ReplyLines()
    return tuple(reply for segment in segments for reply in lines.feed(segment))


def test_several_replies_in_one_segment_are_several_replies() -> None:
    assert hear(WIRE) == SAID


@pytest.mark.parametrize("at", range(1, len(WIRE)))
def test_a_cut_at_any_byte_changes_nothing(at: int) -> None:
    assert hear(WIRE[:at], WIRE[at:]) == SAID


def test_one_byte_at_a_time_changes_nothing() -> None:
    assert hear(*(WIRE[at : at + 1] for at in range(len(WIRE)))) == SAID


@given(st.lists(st.integers(0, len(WIRE)), max_size=8).map(sorted))
def test_any_cuts_change_nothing(cuts: list[int]) -> None:
    edges = [0, *cuts, len(WIRE)]
    assert hear(*(WIRE[start:end] for start, end in itertools.pairwise(edges))) == SAID


@pytest.mark.parametrize("at", range(len(WIRE) + 1))
def test_a_reply_that_has_not_ended_is_partial(at: int) -> None:
    lines = ReplyLines()
    lines.feed(WIRE[:at])
    ends = {0, *(end + 2 for end in range(len(WIRE)) if WIRE[end : end + 2] == b"\r\n")} - {WIRE.index(b"550 ")}
    assert lines.partial is (at not in ends)


@pytest.mark.parametrize("line", [b"hello\r\n", b"\r\n", b"999 what\r\n", b"25 ok\r\n", b"1000 ok\r\n"[1:]])
def test_what_is_no_reply_is_garbage(line: bytes) -> None:
    assert hear(line) == (GARBAGE,)


@pytest.mark.parametrize("piece", [b"250-" + b"x" * 4092, b"250-\r\n" * 600, b"250-" + b"x" * 500 + b"\r\n"])
def test_an_endless_reply_is_garbage_before_it_is_memory(piece: bytes) -> None:
    lines, fed = ReplyLines(), 0
    while GARBAGE not in lines.feed(piece):
        fed += len(piece)
        assert fed < 2 * MAX_REPLY_BYTES


@given(st.binary(max_size=200))
def test_any_bytes_are_heard_without_an_error(noise: bytes) -> None:
    for reply in hear(noise):
        assert reply is GARBAGE or 200 <= reply.code <= 599

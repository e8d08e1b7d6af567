from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator

import pytest

from benchmarks.servers import SlowSink, running

TARPIT = "tarpit.example.com"
# Long beside a moment in which this machine does something else.
TARPIT_SECONDS = 2.0
HEADER = "Subject: Hello\r\n\r\n"


@pytest.fixture(scope="module")
def slow_sink() -> Iterator[SlowSink]:
    with running(SlowSink(delay=0.01, tarpit=TARPIT, tarpit_delay=TARPIT_SECONDS)) as sink:
        yield sink


@pytest.fixture
def link(slow_sink: SlowSink) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", slow_sink.port), timeout=120) as connection:
        read(connection, 1)
        yield connection


def read(connection: socket.socket, count: int) -> list[bytes]:
    """Return so many lines."""
    found = b""
    while found.count(b"\r\n") < count:
        data = connection.recv(4096)
        assert data, found
        found += data
    return found.splitlines()


@pytest.mark.parametrize("body", ["", "One line.\r\n", ".\r\n..\r\n", "long line\r\n" * 20_000])
def test_the_slow_sink_takes_one_mail_after_another(slow_sink: SlowSink, body: str) -> None:
    with smtplib.SMTP("127.0.0.1", slow_sink.port, timeout=120) as client:
        client.ehlo()
        assert client.has_extn("pipelining")
        for _ in range(2):
            assert client.sendmail("from@example.org", ["to@example.org"], HEADER + body) == {}


def test_a_pipelined_group_is_answered_in_its_order(link: socket.socket) -> None:
    link.sendall(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n")
    assert [line[:3] for line in read(link, 3)] == [b"250", b"250", b"354"]
    link.sendall(b"Subject: Hello\r\n\r\nText\r\n.\r\nMAIL FROM:<a@example.org>\r\n")
    assert [line[:9] for line in read(link, 2)] == [b"250 2.0.0", b"250 2.1.0"]


def test_a_mail_may_arrive_in_pieces_and_may_be_empty(link: socket.socket) -> None:
    link.sendall(b"DATA\r\n")
    assert read(link, 1)[0].startswith(b"354")
    for piece in (b"Text\r", b"\n.", b"\r\n"):
        link.sendall(piece)
    assert read(link, 1) == [b"250 2.0.0 taken"]
    link.sendall(b"DATA\r\n.\r\n")
    assert [line[:3] for line in read(link, 2)] == [b"354", b"250"]


def test_what_follows_a_tarpit_waits_behind_it(link: socket.socket) -> None:
    link.sendall(f"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@{TARPIT}>\r\nDATA\r\n".encode())
    assert read(link, 1) == [b"250 2.1.0 ok"]
    assert [line[:3] for line in read(link, 2)] == [b"250", b"354"]

from __future__ import annotations

import smtplib

import pika
import psycopg
import pytest
from redis import Redis

from tests.services.postgresql import Postgresql
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.sinks import PostfixSink, SmtpSink

MAIL = "Message-ID: <1@example.test>\r\nSubject: Hello\r\n\r\nA line.\r\n.a line that begins with a dot\r\nEnd.\r\n"


def send(port: int, *recipients: str) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as client:
        return client.sendmail("from@example.test", recipients, MAIL)


def test_the_sink_writes_down_exactly_what_it_took(smtp_sink: SmtpSink) -> None:
    send(smtp_sink.port, "ada@example.org")
    [mail] = smtp_sink.mails()
    assert mail.data == MAIL.encode()
    assert (mail.message_id, mail.sender, mail.recipient) == (
        "<1@example.test>",
        "from@example.test",
        "ada@example.org",
    )
    assert not mail.bare_newlines


def test_the_sink_refuses_whom_the_script_names_and_only_so_often(smtp_sink: SmtpSink) -> None:
    smtp_sink.script({"ada@example.org": {"rcpt": "450 4.2.1 later", "times": 1}})
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(smtp_sink.port, "ada@example.org")
    assert smtp_sink.count() == 0
    send(smtp_sink.port, "ada@example.org")
    assert smtp_sink.count() == 1


def test_the_sink_takes_a_mail_and_loses_the_reply(smtp_sink: SmtpSink) -> None:
    smtp_sink.script({"*": {"lose_reply": True}})
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(smtp_sink.port, "ada@example.org")
    assert smtp_sink.count() == 1


def test_postfix_own_sink_keeps_each_mail() -> None:
    sink = PostfixSink()
    sink.start()
    try:
        send(sink.port, "ada@example.org")
        [mail] = sink.mails()
    finally:
        sink.stop()
    assert b"X-Rcpt-Args: <ada@example.org>" in mail
    assert b"\nEnd." in mail


def test_a_killed_postgresql_comes_back_with_what_was_committed(postgresql: Postgresql) -> None:
    postgresql.create_database("kept")
    with postgresql.connect("kept") as connection:
        connection.execute("CREATE TABLE note AS SELECT 7 AS value")
    postgresql.restart()
    with postgresql.connect("kept") as connection:
        assert connection.execute("SELECT value FROM note").fetchone() == (7,)


def test_a_stopped_server_leaves_nothing_behind() -> None:
    server = Postgresql()
    server.start()
    server.stop()
    assert not server.folder.exists()
    with pytest.raises(psycopg.OperationalError):
        server.connect()


def test_a_wiped_rabbitmq_has_forgotten_its_queues(rabbitmq: Rabbitmq) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url))
    connection.channel().queue_declare("kept", durable=True)
    connection.close()
    assert "kept" in rabbitmq.control("list_queues", "name")
    rabbitmq.wipe()
    assert "kept" not in rabbitmq.control("list_queues", "name")


def test_a_restarted_redis_has_forgotten_everything(redis: RedisServer) -> None:
    with Redis(port=redis.port) as client:
        client.set("kept", 1)
        redis.restart()
        assert client.exists("kept") == 0

from __future__ import annotations

import subprocess
import sys

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from config.environment import Reader, parse_base_url, parse_broker_url, parse_database_url, parse_email_url
from tests.services.environment import GUNICORN_NAMES, ROOT, clean_environment, documented_names

PRINT_LIMITS = (
    "from django.conf import settings as s; print(s.API_KEY_RATE, s.API_ADDRESS_RATE, s.API_REQUEST_LOG_DAYS)"
)
# Each setting of Anymail may be given; .env.example shows one.
ANYMAIL_EXAMPLES = {"ANYMAIL_POSTMARK_SERVER_TOKEN"}


def check(**variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "check"]
    environment = clean_environment() | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    assert documented_names() - GUNICORN_NAMES - ANYMAIL_EXAMPLES == set(settings.ENVIRONMENT_NAMES)


def test_the_suite_s_own_environment_is_accepted() -> None:
    done = check()
    assert done.returncode == 0, done.stderr


def test_all_wrong_variables_are_named_in_one_error() -> None:
    wrong = {
        "DEBUG": "maybe",
        "BASE_URL": "news.example.org",
        "DATABASE_URL": "mysql://127.0.0.1/courant",
        "BROKER_URL": "kafka://127.0.0.1",
        "EMAIL_URL": "mail.example.org",
        "WORKER_THREADS": "3",
        "TRUSTED_PROXY_COUNT": "-1",
        "BOUNCE_ADDRESS": "not an address",
    }
    done = check(**wrong)
    assert done.returncode == 1
    assert {name for name in wrong if f"  - {name}: " in done.stderr} == set(wrong)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="missing"),
        pytest.param("short-but-random-Zk3", id="short"),
        pytest.param("ab" * 40, id="two letters"),
        pytest.param("development-only-key-never-used-with-debug-off-0123456789", id="the development key"),
    ],
)
def test_a_weak_secret_key_refuses_to_start(key: str) -> None:
    done = check(SECRET_KEY=key)
    assert done.returncode == 1
    assert "SECRET_KEY: " in done.stderr
    assert not key or key not in done.stderr


def test_a_weak_signing_key_refuses_to_start() -> None:
    done = check(SIGNING_KEYS="short")
    assert done.returncode == 1
    assert "SIGNING_KEYS: " in done.stderr


def test_a_development_machine_needs_no_variable_but_debug() -> None:
    done = check(DEBUG="1", SECRET_KEY="", BASE_URL="", ALLOWED_HOSTS="")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "redis", "rediss", "memory"])
def test_each_kind_of_broker_is_accepted(scheme: str) -> None:
    assert parse_broker_url(f"{scheme}://127.0.0.1") == f"{scheme}://127.0.0.1"


def test_a_database_url_with_quoted_characters_is_understood() -> None:
    parsed = parse_database_url("postgres://courant:p%40ss%2Fword@db.example.org:6432/news")
    facts = {name: parsed[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")}
    assert facts == {
        "HOST": "db.example.org",
        "PORT": 6432,
        "USER": "courant",
        "PASSWORD": "p@ss/word",
        "NAME": "news",
    }


@pytest.mark.parametrize(
    ("url", "port", "starttls", "tls"),
    [
        ("smtp://relay.example.org", 25, False, False),
        ("smtp+tls://user:pass@relay.example.org:587", 587, True, False),
        ("smtps://relay.example.org", 465, False, True),
    ],
)
def test_a_relay_s_url_says_how_to_encrypt(url: str, port: int, starttls: bool, tls: bool) -> None:
    parsed = parse_email_url(url)
    assert parsed["EMAIL_PORT"] == port
    assert bool(parsed.get("EMAIL_USE_TLS")) is starttls
    assert bool(parsed.get("EMAIL_USE_SSL")) is tls


@pytest.mark.parametrize("value", ["ftp://example.org", "https://", "https://example.org/?a=1", "example.org"])
def test_a_base_url_is_a_plain_http_address(value: str) -> None:
    with pytest.raises(ValueError, match="http"):
        parse_base_url(value)


def test_the_limits_of_the_api_are_on_unless_they_are_switched_off() -> None:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", PRINT_LIMITS]
    environment = clean_environment() | {"API_KEY_RATE": "", "API_ADDRESS_RATE": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100", "20", "30"]


def test_an_address_is_written_in_ascii() -> None:
    found = Reader({"BOUNCE_ADDRESS": "bounces@münchen.de", "UNSUBSCRIBE_MAILBOX": "lösch@gazette.org"})
    assert found.address("BOUNCE_ADDRESS") == "bounces@xn--mnchen-3ya.de"
    assert (found.address("UNSUBSCRIBE_MAILBOX"), len(found.problems)) == ("", 1)


def test_an_empty_value_means_the_default() -> None:
    reader = Reader({"A": "", "B": "  "})
    assert (reader.whole("A", 7), reader.flag("B", default=True)) == (7, True)
    reader.raise_problems()


def test_each_problem_is_a_sentence_with_its_variable() -> None:
    reader = Reader({"A": "0", "B": "perhaps", "C": "²"})
    reader.whole("A", 7)
    reader.flag("B", default=True)
    reader.whole("C", 7)
    with pytest.raises(ImproperlyConfigured) as raised:
        reader.raise_problems()
    assert [line.split(":")[0] for line in str(raised.value).splitlines()[1:]] == ["  - A", "  - B", "  - C"]

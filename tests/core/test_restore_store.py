"""The memory of the restore guard in Redis."""

from __future__ import annotations

import pytest

from core.restore_store import PREFIX, Memory, RedisStore, UnreachableError, UnreadableError
from tests.services.redis_server import RedisServer


def test_redis_keeps_the_memory_and_nobody_lowers_it(redis: RedisServer) -> None:
    store = RedisStore(redis.url, "news.example.org")
    assert store.read() is None
    memory = Memory("a", 7, {"timeline": "1"})
    store.remember(memory)
    store.remember(Memory("a", 6, {}))
    store.remember(Memory("b", 99, {}))
    assert store.read() == memory
    accepted = Memory("b", 99, {}, ("a",))
    store.remember(accepted)
    assert store.read() == accepted
    store._client.set(f"{PREFIX}news.example.org", "{")
    with pytest.raises(UnreadableError):
        store.read()
    store._client.delete(f"{PREFIX}news.example.org")
    store._client.close()


def test_a_redis_that_is_away_is_not_a_first_start() -> None:
    with pytest.raises(UnreachableError):
        RedisStore("redis://127.0.0.1:1/0", "news.example.org").read()

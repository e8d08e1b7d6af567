"""A throwaway Redis server that keeps nothing on disk."""

from __future__ import annotations

import os

from redis import Redis

from tests.services.processes import Program, Service, answers, find_program


class RedisServer(Service):
    """One server without persistence: `flush` and `restart` lose every message."""

    name = "redis"

    @property
    def url(self) -> str:
        """The BROKER_URL of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [find_program("redis-server", "redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.program = Program(command, log=self.folder / "redis.log", environment=os.environ)
        self.program.wait_ready(lambda: answers(self.port), seconds=60)

    def flush(self) -> None:
        """Delete everything in it."""
        with Redis(port=self.port) as client:
            client.flushall()

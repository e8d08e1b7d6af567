"""A network namespace for a test's programs, and links between it and this machine's servers that can be cut."""

from __future__ import annotations

import random
import subprocess
from types import TracebackType
from typing import Self

from tests.services.processes import ServiceError
from tests.services.tcp_proxy import TcpProxy

# A private range; the third number is the namespace's own.
RANGE = "10.213"


class Network:
    """A namespace from which nothing can be reached but the ports that it has links to."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        for number in random.SystemRandom().sample(range(256), 20):
            self.number, self.name = number, f"courant-{number}"
            # Another run may have this one.
            if subprocess.run(["ip", "netns", "add", self.name], capture_output=True, check=False).returncode == 0:
                break
        else:
            raise ServiceError("no network namespace could be made")
        ip("-n", self.name, "link", "set", "lo", "up")

    @property
    def within(self) -> tuple[str, ...]:
        """The beginning of a command that runs another inside."""
        return ("ip", "netns", "exec", self.name)

    def link(self, port: int) -> Link:
        """Make one of this machine's loopback ports reachable from inside, over a link of its own."""
        self.links.append(made := Link(self, port, number=len(self.links)))
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in self.links:
            link.stop()
        ip("netns", "delete", self.name)


class Link:
    """A pair of virtual interfaces; `proxy` listens at this machine's end, since servers listen on loopback only."""

    def __init__(self, network: Network, port: int, *, number: int) -> None:
        self._network = network
        stem = f"cr{network.number}-{number}"
        self._here, self._inside = f"{stem}o", f"{stem}i"
        first = f"{RANGE}.{network.number}.{4 * number + 1}"
        second = f"{RANGE}.{network.number}.{4 * number + 2}"
        ip("link", "add", self._here, "type", "veth", "peer", "name", self._inside, "netns", network.name)
        ip("address", "add", f"{first}/30", "dev", self._here)
        ip("link", "set", self._here, "up")
        ip("-n", network.name, "address", "add", f"{second}/30", "dev", self._inside)
        self.mend()
        self.proxy = TcpProxy(port, host=first)

    def cut(self) -> None:
        """Set the interface inside down: established connections hang, new ones find no way."""
        ip("-n", self._network.name, "link", "set", self._inside, "down")

    def mend(self) -> None:
        ip("-n", self._network.name, "link", "set", self._inside, "up")

    def stop(self) -> None:
        """Remove both ends."""
        self.proxy.stop()
        ip("link", "delete", self._here)


def ip(*words: str) -> None:
    """Run iproute2. Raises ServiceError with what it said."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise ServiceError(f"ip {' '.join(words)}: {done.stderr.strip()}")

"""A throwaway RabbitMQ node: its own name, ports, folders and port mapper."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.services.processes import Program, Service, answers, find_program, free_port

SCRIPTS = "/usr/lib/rabbitmq/bin"
CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
disk_free_limit.absolute = 10MB
vm_memory_high_watermark.absolute = 512MB
log.console = true
log.file = false
"""


class Rabbitmq(Service):
    """One node, cold start about 6 s. `wipe` loses everything it knew, as a lost disk does."""

    name = "rabbitmq"

    def __init__(self) -> None:
        super().__init__()
        self._data = self.folder / "mnesia"
        self._names_port = free_port()
        self._names: Program | None = None
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION.format(port=self.port))
        (self.folder / "enabled_plugins").write_text("[].\n")
        own = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        self._environment = own | {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"courant-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._data),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            # The shipped default keeps a whole core busy waiting, which a small machine cannot spare.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "ERL_MAX_PORTS": "4096",
        }

    @property
    def url(self) -> str:
        """The BROKER_URL of the node."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        if self._names is None:
            # Started here, so that the node starts no daemon that would outlive the tests.
            command = [find_program("epmd", "rabbitmq-server"), "-port", str(self._names_port)]
            self._names = Program(command, log=self.folder / "epmd.log", environment=self._environment)
            self._names.wait_ready(lambda: answers(self._names_port), seconds=60)
        command = [find_program("rabbitmq-server", "rabbitmq-server", SCRIPTS)]
        self.program = Program(command, log=self.folder / "rabbitmq.log", environment=self._environment)
        self.program.wait_ready(lambda: answers(self.port), seconds=300)

    def wipe(self) -> None:
        """Kill the node, delete its data and start it again."""
        self.kill()
        shutil.rmtree(self._data)
        self.start()

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against this node and return what it prints."""
        command = [find_program("rabbitmqctl", "rabbitmq-server", SCRIPTS), "--quiet", *arguments]
        # It brings up an Erlang machine of its own.
        answer = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True, timeout=300)
        return answer.stdout

    def stop(self) -> None:
        if self.program is not None:
            self.program.kill()
        if self._names is not None:
            self._names.kill()
        shutil.rmtree(Path(self.folder), ignore_errors=True)

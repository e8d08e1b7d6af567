"""How gunicorn serves the site: threads, since a request waits for the database and little else."""

from __future__ import annotations

import json
import os
import socket
import struct
from http import HTTPStatus
from typing import Any

from gunicorn import util

bind = f"0.0.0.0:{os.environ.get('PORT') or '8000'}"
wsgi_app = "config.wsgi:application"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or "2")
threads = int(os.environ.get("WEB_THREADS") or "8")
# Heroku's router gives up after 30 s, and kills a process 30 s after its SIGTERM.
timeout = 30
graceful_timeout = 25
# Behind a load balancer: longer than it keeps its own idle connections.
keepalive = 75
# Against slow leaks; the jitter keeps the processes from restarting together.
max_requests = 10_000
max_requests_jitter = 1_000
# Heartbeat files on a disk block when the disk is busy.
worker_tmp_dir = "/dev/shm"  # noqa: S108  # gunicorn makes the file itself, unnamed
# The default is a socket in the home directory, which may not be writable.
control_socket_disable = True
# A request that is silent for longer is given up on.
SILENCE_SECONDS = 15
# The most it takes: what is longer is refused (414, 431) before Django sees it.
limit_request_line = 8190
limit_request_field_size = 16_384
# It would take SCRIPT_NAME and PATH_INFO for headers of a proxy on this machine, which passes them on from anybody.
forwarder_headers = ""
# core.logs writes a line for each request.
accesslog = None

# What it refuses before there is a request that Django could answer.
_PROBLEMS = {
    400: ("bad_request", "This is not a well-formed HTTP request."),
    403: ("forbidden", "This is not allowed."),
    414: ("address_too_long", "The address is longer than 8 KB."),
    417: ("expectation_failed", "The only expectation that is understood is 100-continue."),
    431: ("headers_too_large", "There are more than 100 headers, or one is larger than 16 KB."),
    500: ("internal_error", "Something failed on our side."),
}


def _write_problem(sock: Any, status_int: int, reason: str, mesg: str) -> None:  # noqa: ARG001  # gunicorn's words
    """Answer as `core.problems` does, where gunicorn has a page of its own. It repeats nothing of what was sent."""
    # A transfer coding that nobody knows is the client's error here, as any other is.
    status = HTTPStatus(status_int if status_int in _PROBLEMS else 400)
    code, detail = _PROBLEMS[status]
    problem = {
        "type": f"urn:courant:problem:{code}",
        "title": status.phrase.capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "errors": [],
    }
    body = json.dumps(problem)
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    util.write_nonblock(sock, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


def when_ready(server: Any) -> None:
    """Let nobody hold a thread by being silent in the middle of a request; connections inherit it."""
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE_SECONDS, 0))


# It has no setting for this.
util.write_error = _write_problem

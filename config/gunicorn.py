"""How gunicorn serves the site: threads, since a request waits for the database and little else."""

from __future__ import annotations

import os

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
# The most it takes: what is longer gets its own page (414, 431) instead of our problem documents.
limit_request_line = 8190
limit_request_field_size = 16_384
# core.logs writes a line for each request.
accesslog = None

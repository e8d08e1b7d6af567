"""Settings of the tutorial's app; `BASELINE_…` variables say where its servers are."""

from __future__ import annotations

import os

SECRET_KEY = "no secrets here"  # noqa: S105  # nothing is signed
INSTALLED_APPS = ["django_dramatiq", "benchmarks.baseline"]
DRAMATIQ_BROKER = {
    "BROKER": "dramatiq.brokers.rabbitmq.RabbitmqBroker",
    "OPTIONS": {"url": os.environ["BASELINE_BROKER_URL"]},
    "MIDDLEWARE": [
        "dramatiq.middleware.AgeLimit",
        "dramatiq.middleware.TimeLimit",
        "dramatiq.middleware.Callbacks",
        "dramatiq.middleware.Retries",
    ],
}
EMAIL_HOST = "127.0.0.1"
EMAIL_PORT = int(os.environ["BASELINE_SMTP_PORT"])
USE_TZ = True

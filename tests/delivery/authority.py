"""A throwaway certificate authority, and a relay's certificate for this machine's loopback names."""

from __future__ import annotations

import atexit
import functools
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest

from newsletters.delivery import smtp

NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@functools.cache
def authority_file() -> Path:
    """Return the PEM file of the authority's certificate."""
    folder = Path(tempfile.mkdtemp(prefix="courant-authority-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _openssl("req", "-x509", *KEY, "-subj", "/CN=throwaway", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    return folder / "ca.pem"


def trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process believe the authority, in the way that operators do."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file()))
    smtp._tls_context.cache_clear()


def server_context(*, days: int = 2) -> ssl.SSLContext:
    """Return what a relay on loopback speaks TLS with; its certificate is valid for these days from now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_server_file(days))
    return context


@functools.cache
def _server_file(days: int) -> Path:
    folder = authority_file().parent
    request, names, made = folder / "relay.csr", folder / "names", folder / f"relay{days}.pem"
    names.write_text(NAMES)
    _openssl("req", "-new", *KEY[:-2], "-subj", "/CN=relay", "-keyout", folder / "relay.key", "-out", request)
    signed = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", str(days))
    _openssl("x509", "-req", "-in", request, *signed, "-extfile", names, "-out", made)
    made.write_bytes(made.read_bytes() + (folder / "relay.key").read_bytes())
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

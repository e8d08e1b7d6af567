from __future__ import annotations

import pytest

from newsletters.publishing.links import problem_with

MARKER = "m0123456789"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "http://example.org/a?b=c&d#e",
        "HTTPS://Example.ORG/",
        "https://example.org:8443/x",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/é",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "mailto:desk@example.org",
        "mailto:desk@example.org?subject=Hi%20there&body=a%0Ab",
        f"https://example.org/{MARKER}n0z?x={MARKER}n1z",
        f"mailto:{MARKER}n0z",
    ],
)
def test_absolute_public_addresses_pass(url: str) -> None:
    assert problem_with(url, marker=MARKER) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "#top",
        "//evil.example",
        "/relative",
        "page.html",
        "?a=b",
        "https:/evil.example",
        "https:evil.example",
        "https://",
        "https:///evil.example",
        "https:\\\\evil.example",
        "https://example.org\\@evil.example",
        "ftp://example.org",
        "tel:+491234",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://user:pw@example.org",
        "http://user@example.org",
        "https://example.org@evil.example/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://localhost./",
        "http://0.0.0.0",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://[fc00::1]/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://intranet/",
        "http://printer.local/",
        "http://db.internal/",
        "http://a.localhost/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://localhost\uff0e/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:x/",
        "http://[::1/",
        "http://exa mple.org/",
        "https://example.org/\n",
        "https://example.org/a b",
        "https://example.org/<x>",
        f"https://{MARKER}n0z.example.org/",
        f"https://{MARKER}n0z/",
        "mailto:",
        "mailto:a@example.org,b@example.org",
        "mailto:a@example.org?bcc=x@example.org",
        "mailto:?bcc=x@example.org",
        "mailto:a@example.org?BCC=x@example.org",
        "mailto:a@example.org?cc=x@example.org",
        "mailto:a@example.org?subject=x%0D%0ABcc:y@example.org",
        "mailto:a%0D%0ABcc@example.org",
        "mailto:someone",
        "https://example.org/" + "a" * 2000,
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    assert problem_with(url, marker=MARKER)


def test_an_image_cannot_be_a_mailbox() -> None:
    assert problem_with("mailto:a@example.org", marker=MARKER, image=True)

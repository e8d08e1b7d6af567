from __future__ import annotations

import re
import time

import pytest
from lxml import html as lxml_html  # type: ignore[import-untyped]  # lxml carries no types

from core.errors import InvalidError
from newsletters.publishing.merge_tags import mark
from newsletters.publishing.nesting import MOST_TAGS, check_nesting
from newsletters.publishing.sanitising import sanitise
from tests.effort import least_effort

ACTIVE = [
    "<script>alert(1)</script>",
    "<img src=https://a.example/x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<a href=' javascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=x></object>",
    "<embed src=x>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<form action='https://evil.example'><input name=q></form>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "<style>@import 'https://evil.example/x.css'; p{color:red}</style>",
    "<p style='position:fixed;top:0'>x</p>",
    "<p style='background:url(javascript:alert(1))'>x</p>",
    "<p style='width:expression(alert(1))'>x</p>",
    "<p style='color:red;background-color:url(https://evil.example/x)'>x</p>",
    "<p style='color:\\75rl(x)'>x</p>",
    "<p id=__proto__ name=cookie>x</p>",
    "<a name=submit id=cookie>x</a>",
    "<p class=card onclick=alert(1)>x</p>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=https://a.example/x onerror=alert(1)>'>",
    "<template><img src=x onerror=alert(1)></template>",
    "<video src=x onerror=alert(1)><audio src=x>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<xmp><script>alert(1)</script></xmp>",
    "<a href=https://a.example/ target=_top ping=https://b.example>x</a>",
    "<body background=https://a.example/x onload=alert(1)>",
    "<table background='https://a.example/x'><tr><td>x</table>",
    "<img srcset='https://a.example/x 1x' src='https://a.example/x'>",
    "<button formaction='javascript:alert(1)'>x</button>",
]


def clean(html: str) -> str:
    marked = mark(html, pointer="/body")
    return sanitise(marked.text, marked=marked, pointer="/body")


@pytest.mark.parametrize("payload", ACTIVE)
def test_active_content_is_removed_and_the_rest_stays(payload: str) -> None:
    cleaned = clean(f"<p>before</p>{payload}")
    assert "before" in cleaned
    root = lxml_html.fragment_fromstring(cleaned, create_parent="div")
    kept = {
        "div",
        "p",
        "a",
        "img",
        "table",
        "tbody",
        "tr",
        "td",
    }
    for element in root.iter():
        assert element.tag in kept
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name in {"href", "src", "style"}
            assert not re.search(r"script:|data:|url\(|expression|position|\\|evil", value)


@pytest.mark.parametrize(
    "html",
    [
        "<a href='//evil.example'>x</a>",
        "<a href='/relative'>x</a>",
        "<a href='mailto:a@example.org?bcc=b@example.org'>x</a>",
        "<img src='http://127.0.0.1/'>",
        "<a href='http://user:pw@host.example'>x</a>",
        "<a href='#top'>x</a>",
        "<img src='cid:part1'>",
        "<a href='tel:+49'>x</a>",
    ],
)
def test_a_link_that_cannot_be_followed_is_named(html: str) -> None:
    with pytest.raises(InvalidError) as raised:
        clean(f"<p>{html}</p>")
    assert raised.value.code == "invalid_link"
    named = re.search(r"'([^']*)'", html)
    assert named is not None
    assert named[1] in raised.value.detail


@pytest.mark.parametrize(
    "scheme",
    ["htps", "intent", "sip", "whatsapp", "view-source", "HTTPSS", "x" * 40, "tel", "ftp", "file", "sms", "a+b.c"],
)
def test_a_link_with_an_unknown_scheme_is_named(scheme: str) -> None:
    with pytest.raises(InvalidError) as raised:
        clean(f"<a href='{scheme}://example.org/'>x</a>")
    assert (raised.value.code, raised.value.errors[0].pointer) == ("invalid_link", "/body")
    assert f"{scheme}://example.org/" in raised.value.detail


def test_an_unknown_scheme_written_with_entities_is_named() -> None:
    with pytest.raises(InvalidError) as raised:
        clean("<a href='&#104;tps&colon;//example.org/'>x</a>")
    assert "htps://example.org/" in raised.value.detail


@pytest.mark.parametrize("text", ["a" * 500_000, "a:" * 250_000, "a.-+" * 125_000, "&#58;" * 100_000])
def test_the_search_for_schemes_is_linear(text: str) -> None:
    assert least_effort(lambda: clean(text)) < 1


def test_all_bad_links_are_named_at_once() -> None:
    with pytest.raises(InvalidError) as raised:
        clean("<a href='/one'>x</a><a href='https://fine.example'>x</a><a href='/two'>x</a>")
    assert [error.detail.split("'")[1] for error in raised.value.errors] == ["/one", "/two"]


def test_a_bad_link_with_a_tag_is_shown_with_the_tag() -> None:
    with pytest.raises(InvalidError) as raised:
        clean("<a href='{{ subscriber.site }}/x'>x</a>")
    assert "{{ subscriber.site }}/x" in raised.value.detail


@pytest.mark.parametrize(
    ("html", "code"),
    [
        ("<p style='color:{{ subscriber.colour }}'>x</p>", "tag_in_style"),
        ("<a href='{{ unsubscribe_url }}?x=1'>x</a>", "misplaced_tag"),
        ("<a href='https://a.example/?u={{ unsubscribe_url }}'>x</a>", "misplaced_tag"),
        ("<img src='{{ unsubscribe_url }}'>", "misplaced_tag"),
        ("<p title='{{ unsubscribe_url }}'>x</p>", "misplaced_tag"),
    ],
)
def test_a_tag_in_a_wrong_place_is_refused(html: str, code: str) -> None:
    with pytest.raises(InvalidError) as raised:
        clean(html)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 40_000,
        "<" * 50_000,
        "<b>" * 300,
        "<p><b title=1><i title=2>" * 150,
        "<table><tr><td>" * 100,
        "<div></div>" * (MOST_TAGS + 1),
        "<p>" + "".join(f"<b title={n}>" for n in range(190)) + "x</p>" + "<p>x</p>" * 9_000,
        "<div><!--</div>-->" * 300,
        "<div title='</div>'>" * 300,
        '<div " x=">" y="</div>">' * 300,
        "<div><style></div></style>" * 300,
    ],
    ids=range(11),
)
def test_html_that_would_exhaust_the_parser_is_refused_in_no_time(html: str) -> None:
    def refused() -> None:
        with pytest.raises(InvalidError) as raised:
            clean(html)
        assert raised.value.code == "html_too_complex"

    assert least_effort(refused) < 0.1


@pytest.mark.parametrize(
    "html",
    [
        "<a " + 'x="' * 25_000,
        "<a " + "x='y'" * 20_000,
        "<a " + "= " * 50_000,
        "<a " + "/" * 100_000,
        "<a" + " " * 100_000,
        "<!--" * 9_000,
        "<a x=" + "y" * 100_000,
        "<" + "a" * 100_000,
        "</" + "a" * 100_000,
        '<a "' + "'\"" * 50_000,
    ],
    ids=range(10),
)
def test_the_scan_itself_is_linear(html: str) -> None:
    started = time.process_time()
    check_nesting("/body", html)
    assert time.process_time() - started < 0.1


def test_ordinary_untidy_html_passes() -> None:
    html = "<p>one<p>two<ul><li>a<li>b</ul><table><tr><td>1<td>2<tr><td>3</table><br><hr>" * 60
    assert clean(html).count("<li>") == 120


def test_formatting_for_mail_is_kept() -> None:
    html = (
        '<table width="100%" cellpadding="4" bgcolor="#eeeeee"><tbody><tr><td align="center" style="color:#333333">'
        '<a href="https://example.org/">x</a><img src="https://example.org/x.png" alt="A" width="10" height="10">'
        "</td></tr></tbody></table>"
    )
    assert clean(html) == html


def test_a_background_without_a_text_colour_gets_one() -> None:
    assert (
        clean('<p style="background-color:#eeeeee">x</p>') == '<p style="background-color:#eeeeee;color:#24292b">x</p>'
    )
    own = '<p style="background-color:#000000;color:#ffffff">x</p>'
    assert clean(own) == own

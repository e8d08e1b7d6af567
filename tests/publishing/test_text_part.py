from __future__ import annotations

import pytest

from newsletters.publishing.text_part import to_text

LINES = "<pre>" + "x\n" * 2_000 + "</pre>"


def test_columns_of_an_ordinary_table_stand_below_each_other() -> None:
    rows = [("Day", "What there is to hear"), ("Monday", "Bach"), ("Tuesday", "Nothing")]
    html = "".join(f"<tr><td>{day}</td><td>{what}</td></tr>" for day, what in rows)
    assert to_text(f"<table>{html}</table>").split("\n") == [
        "Day      What there is to hear",
        "Monday   Bach",
        "Tuesday  Nothing",
    ]


def test_a_table_that_padding_would_make_far_too_long_is_not_padded() -> None:
    html = f"<tr><td>{'x' * 5_000}</td><td>a</td></tr>" + "<tr><td>b</td><td>c</td></tr>" * 400
    assert to_text(f"<table>{html}</table>").split("\n") == ["x" * 5_000, "a", *["b", "c"] * 400]


def test_nor_is_one_whose_tables_are_padded_already() -> None:
    html = "a" * 20
    for _ in range(30):
        cell = f"<tr><td>{html}</td><td>b</td></tr>"
        html = f"<table>{cell}{'<tr><td>c</td><td>d</td></tr>' * 5}</table>"
    assert len(to_text(html)) < 20 * len(html)


@pytest.mark.parametrize(
    "html",
    [
        '<div style="padding-left: 100000em">' * 20 + "x<br>" * 100 + "</div>" * 20,
        '<p style="margin-top: 100000em">x</p>' * 50,
        '<p style="margin-bottom: 99999999px">x</p>' * 50,
        "<ul><li>" * 90 + LINES + "</li></ul>" * 90,
        "<blockquote>" * 190 + LINES + "</blockquote>" * 190,
    ],
    ids=["padding", "margin above", "margin below", "lists", "quotations"],
)
def test_neither_styles_nor_nesting_make_the_text_many_times_as_long(html: str) -> None:
    assert 0 < len(to_text(html)) < 25 * len(html)


def test_lists_are_indented_ten_levels_deep() -> None:
    html = "<ul>" + "<li>x<ul>" * 12 + "<li>y</li>" + "</ul></li>" * 12 + "</ul>"
    indents = [len(line) - len(line.lstrip()) for line in to_text(html).split("\n")]
    assert indents[:3] == [2, 6, 10]
    assert max(indents) == 4 * 10 - 2


def test_a_hidden_text_stays_hidden_and_kept_lines_stay_lines() -> None:
    assert to_text('<p style="color: red; display: none">secret</p><p style="white-space: pre">a\nb</p>') == "a\nb"

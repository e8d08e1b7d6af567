"""A CSV file of 2,000 readers as real files are: quoted names, foreign domains, repetitions, mistakes."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

ROWS = 2000
MISTAKES = ("", "nobody", "two@at@example.org", "spaces in@example.org", "dots..dots@example.org", "no-domain@")
NAMES = ("Ada", 'Farai "Fa" O\'Neil, Jr.', "Zoë", "Дмитрий", "王小明", "", "Ana-María")
CITIES = ("Porto", "São Paulo", "", "Köln, Altstadt")


@dataclass(frozen=True)
class Reader:
    name: str
    city: str


@dataclass(frozen=True)
class ReaderFile:
    """The file, who must get mail because of it, and the lines that are wrong."""

    data: bytes
    readers: dict[str, Reader]
    duplicates: int
    wrong_lines: set[int]


def make_reader_file() -> ReaderFile:
    """Return the same file on each call."""
    readers: dict[str, Reader] = {}
    wrong_lines = set()
    duplicates = 0
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(["email", "name", "city"])
    for number in range(ROWS):
        reader = Reader(NAMES[number % len(NAMES)], CITIES[number % len(CITIES)])
        if number % 100 == 99:
            wrong_lines.add(number + 2)
            writer.writerow([MISTAKES[number // 100 % len(MISTAKES)], reader.name, reader.city])
        elif number % 50 == 7:
            duplicates += 1
            writer.writerow([f"Reader-{number - 1}@Example.ORG", reader.name, reader.city])
        elif number % 10 == 3:
            readers[f"reader-{number}@xn--bcher-kva.example"] = reader
            writer.writerow([f"reader-{number}@bücher.example", reader.name, reader.city])
        else:
            readers[f"reader-{number}@example.org"] = reader
            writer.writerow([f"reader-{number}@example.org", reader.name, reader.city])
    return ReaderFile(lines.getvalue().encode(), readers, duplicates, wrong_lines)

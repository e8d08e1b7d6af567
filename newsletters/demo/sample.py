"""Made-up readers and the sample issue."""

from __future__ import annotations

import csv
import io
from pathlib import Path

READERS = 1000
ISSUE_FILE = Path(__file__).with_name("issue.md")
CONSENT = "sample readers of the demonstration"
# (name, the same in letters that an address can have)
FIRST = (
    ("Åsa", "asa"),
    ("José", "jose"),
    ("Siobhán", "siobhan"),
    ("Zoë", "zoe"),
    ("Mehmet", "mehmet"),
    ("Nguyễn", "nguyen"),
    ("Мария", "maria"),
    ("Γιώργος", "giorgos"),
    ("小龙", "xiaolong"),
    ("さくら", "sakura"),
    ("नीता", "nita"),
    ("ליאור", "lior"),
    ("فاطمة", "fatima"),
    ("Ọlá", "ola"),
    ("Łukasz", "lukasz"),
    ("지우", "jiwoo"),
    ("Tomáš", "tomas"),
    ("Aroha", "aroha"),
    ("Þóra", "thora"),
    ("Mia", "mia"),
)
LAST = (
    ("Lindqvist", "lindqvist"),
    ("García Márquez", "garcia-marquez"),
    ("O'Brien", "obrien"),
    ("van der Berg", "vanderberg"),
    ("Öztürk", "ozturk"),
    ("Иванова", "ivanova"),
    ("Παπαδόπουλος", "papadopoulos"),
    ("Smith, Jr.", "smith"),
    ("Müller", "mueller"),
    ("Kowalska", "kowalska"),
)
DOMAINS = ("post.example", "mail.example", "büro.example", "correo.example", "почта.example")
CITIES = ("Reykjavík", "São Paulo", "Kraków", "Washington, D.C.", "Hà Nội", "Αθήνα", "東京", "")


def readers_csv(count: int = READERS) -> bytes:
    """Return a CSV of distinct readers, the same on every call: quoted commas, many scripts, IDN domains."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["email", "name", "city"])
    for number in range(count):
        first, first_ascii = FIRST[number % len(FIRST)]
        last, last_ascii = LAST[number // len(FIRST) % len(LAST)]
        domain = DOMAINS[number % len(DOMAINS)]
        address = f"{first_ascii}.{last_ascii}.{number + 1:04d}@{domain}"
        rows.writerow([address, f"{first} {last}", CITIES[number % len(CITIES)]])
    return text.getvalue().encode()


def issue_body() -> str:
    return ISSUE_FILE.read_text(encoding="utf-8")

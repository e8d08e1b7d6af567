"""Which addresses of a file have been seen: a set that holds a million of them in 34 MB."""

from __future__ import annotations

import mmap

# Of a reader's digest, which nobody without the signing keys can aim at: 128 bits.
BYTES = 16
_LEAST_PLACES = 1024


class Marks:
    """A set of the first 16 bytes of digests, made for at most `most` of them.

    A hash table in two flat pieces of memory (open addressing, linear probing, at most half full): Python's own set
    takes 100 MB for a million. A place is free while its first half is zero.
    """

    def __init__(self, most: int) -> None:
        places = max(_LEAST_PLACES, 1 << (2 * most).bit_length())
        self._last = places - 1
        self._first = _zeros(places)
        self._second = _zeros(places)

    def add(self, digest: bytes) -> bool:
        """Put a digest in; False when it was there."""
        # A zero half would look like a free place.
        return self._put(int.from_bytes(digest[:8], "big") or 1, int.from_bytes(digest[8:BYTES], "big"))

    def load(self, marks: bytes) -> None:
        """Put in what a part remembers: the first 16 bytes of digests, one after the other."""
        for start in range(0, len(marks), BYTES):
            self.add(marks[start : start + BYTES])

    def _put(self, first: int, second: int) -> bool:
        firsts = self._first
        place = first & self._last
        while found := firsts[place]:
            if found == first and self._second[place] == second:
                return False
            place = place + 1 & self._last
        firsts[place] = first
        self._second[place] = second
        return True


def _zeros(count: int) -> memoryview:
    # Mapped, so that the system has it back when the import ends: an allocator may keep it.
    return memoryview(mmap.mmap(-1, 8 * count)).cast("Q")

"""Reading a list that moves: it grows at one end and may lose rows at the other, in an order that nobody documents.

Source: "Querying the Task List" of the CBR API reference: `limit` (1,000 at most), `offset`, and a `count`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vaultbell.report import Object

PAGE = 1_000
OVERLAP = 50
STEPS_BACK_MOST = 20


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its rows, how many there are in all (None: not said), and how many it would hold at most."""

    rows: list[Object]
    count: int | None = None
    limit: int = PAGE

    def is_last(self, offset: int) -> bool:
        """Whether the list ends here. Only a page that is not full can be the last."""
        return len(self.rows) < self.limit and (self.count is None or self.count <= offset + len(self.rows))


def rows(get: Callable[[int, int], Page], size: int = PAGE) -> Iterator[Object]:
    """Each row of the list that stood in it all the while, at least once; `get(offset, limit)` gives a page.

    Each page begins before the end of the last one. Where it shares no row with that, the list has lost rows before
    it, and what moved up unseen is fetched by stepping back. Holds two pages at a time.
    """
    offset, back = 0, 0
    known: frozenset[object] = frozenset()
    while True:
        page = get(offset, size)
        ids = frozenset(row.get("id") for row in page.rows)
        if offset > 0 and ids.isdisjoint(known) and back < STEPS_BACK_MOST:
            back += 1
            offset = max(0, offset - size * 2 ** (back - 1) // 2)
            continue
        yield from (row for row in page.rows if row.get("id") is None or row.get("id") not in known)
        if page.is_last(offset):
            return
        known, back = ids, 0
        offset += max(len(page.rows) - min(OVERLAP, len(page.rows) // 2), 1)

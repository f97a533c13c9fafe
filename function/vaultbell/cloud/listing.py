"""Reading a list that moves: it grows at one end and may lose rows at the other, in an order that nobody documents.

Source: "Querying the Task List" of the CBR API reference: `limit` (1,000 at most), `offset`, and a `count`. What an
answer says of its own size is believed only as far as its rows bear it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vaultbell.report import Object

PAGE = 1_000
OVERLAP = 50

Mark = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: its rows; and, where it says so, how many there are in all and how many it would hold at most."""

    rows: list[Object]
    count: int | None = None
    limit: int | None = None

    @property
    def marks(self) -> frozenset[Mark]:
        """Its rows as they are now: one that is touched, and so may have moved, is another."""
        return frozenset(mark for row in self.rows if (mark := _mark(row)))

    def is_short(self, asked: int) -> bool:
        """Whether it holds less than it could. Only such a page can be the last."""
        return len(self.rows) < min(self.limit or asked, asked)

    def says_more(self, offset: int) -> bool:
        """Whether it says that there are rows behind it."""
        return self.count is not None and self.count > offset + len(self.rows)

    def is_last(self, offset: int, asked: int) -> bool:
        """Whether it says that the list ends with it."""
        said = self.limit is not None if self.count is None else self.count <= offset + len(self.rows)
        return said and self.is_short(asked)


def rows(get: Callable[[int, int], Page], size: int = PAGE, until: frozenset[Mark] = frozenset()) -> Iterator[Object]:
    """Each row of the list that stood in it all the while, at least once; `get(offset, limit)` gives a page.

    Each page begins before the end of the last one. Where it shares no row with that, the list has lost rows before
    it, and what moved up unseen is fetched by stepping back. In the end what went to the front meanwhile is fetched,
    `until` a row that was there: an order by the last change moves a touched row there. Holds two pages at a time;
    ends at the latest when `get` raises.
    """
    half = max(size // 2, 1)
    offset, overlap, back = 0, 0, half
    first: frozenset[Mark] | None = None
    known: frozenset[Mark] = frozenset()
    while True:
        page = get(offset, size)
        marks = page.marks
        if offset and overlap and known and known.isdisjoint(marks) and (marks or not page.rows):
            offset, back = max(0, offset - back), back * 2
            continue
        news = [row for row in page.rows if _mark(row) not in known]
        yield from news
        at_its_end = not news and page.is_short(size) and not (page.rows and page.says_more(offset))
        if page.is_last(offset, size) or at_its_end or not until.isdisjoint(marks):
            break
        first = marks if first is None else first
        known, back = marks, half
        overlap = min(OVERLAP, len(page.rows) // 4 or len(page.rows) // 2)
        offset += max(len(page.rows) - overlap, 1)
    if first:
        yield from rows(get, size, first)


def _mark(row: Object) -> Mark | None:
    name = row.get("id")
    return (name, str(row.get("updated_at"))) if isinstance(name, str) else None

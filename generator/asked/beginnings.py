"""An index of rules by a text with which all their words begin, so that a rule is compared with those alone that it may meet."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice, takewhile
from operator import or_


@dataclass(slots=True)
class Beginnings:
    """Sets of rules, held as bits, by their text. known: answers of `longer`, until a rule comes."""

    rules: dict[bytes, int] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)

    def add(self, text: bytes, bit: int) -> None:
        """Put a rule in."""
        if text not in self.rules:
            insort(self.order, text)
        self.rules[text] = self.rules.get(text, 0) | bit
        self.known.clear()

    def of(self, text: bytes) -> int:
        """Those whose text it is."""
        return self.rules.get(text, 0)

    def shorter(self, text: bytes) -> int:
        """Those with whose text this one begins; those whose text it is are among them."""
        found = 0
        for size in range(len(text) + 1):
            found |= self.rules.get(text[:size], 0)
        return found

    def longer(self, text: bytes) -> int:
        """Those whose text begins with this one; those whose text it is are among them."""
        if text not in self.known:
            from_here = islice(self.order, bisect_left(self.order, text), None)
            self.known[text] = reduce(or_, (self.rules[each] for each in takewhile(lambda each: each.startswith(text), from_here)), 0)
        return self.known[text]

r"""Whether repeating a part of a regex can make a backtracking engine explode: syntax tree -> the reason, or None.

PCRE2 backtracks: on `(a+)+$` it tries 2^n ways of reading n letters, and every user's requests wait meanwhile. A part that
is repeated more than once must therefore be readable in one way only: seeing one next byte, it must be clear which
character of the pattern reads it (Brüggemann-Klein and Wood, "One-Unambiguous Regular Languages", 1998; XML
Schema asks the same of content models). `(?:[^/]+/)*` passes, `(\w+\s?)*` does not. The check errs on the safe side:
`(?:foo|far)+` is refused and passes as `(?:f(?:oo|ar))+`. What is left is polynomial (`.*a.*b`).
"""

from __future__ import annotations

from generator.rules.regex_tree import Bytes, Either, Node, Repeat, Sequence


def explodes(body: Node) -> str | None:
    """Why repeating `body` could make a backtracking engine try exponentially many ways, or None.

    The position automaton (Glushkov) of the loop: `first` and `follow` say which character of the pattern can read the next
    byte; two of them for one byte are two ways. An inner `{n}` counts as one pass: it was checked as a loop of its own.
    """
    among: list[frozenset[int]] = []
    follow: list[list[int]] = []

    def shape(node: Node) -> tuple[bool, list[int], list[int]]:
        """Whether `node` can be empty, and the positions it can begin and end with."""
        match node:
            case Bytes():
                among.append(node.among)
                follow.append([])
                return False, [len(among) - 1], [len(among) - 1]
            case Sequence(parts):
                empty, first, last = True, list[int](), list[int]()
                for part in parts:
                    part_empty, part_first, part_last = shape(part)
                    for position in last:
                        follow[position].extend(part_first)
                    first = first + part_first if empty else first
                    last = last + part_last if part_empty else part_last
                    empty = empty and part_empty
                return empty, first, last
            case Either(branches):
                shapes = [shape(branch) for branch in branches]
                return any(s[0] for s in shapes), [p for s in shapes for p in s[1]], [p for s in shapes for p in s[2]]
            case Repeat(inner, least, most):
                empty, first, last = shape(inner)
                if most is None or most > max(1, least):
                    for position in last:
                        follow[position].extend(first)
                return empty or least == 0, first, last
        return True, [], []

    empty, first, last = shape(body)
    if empty:
        return "a repeated part that can be empty, which can be read in many ways"
    for position in last:
        follow[position].extend(first)
    for choices in (first, *follow):
        seen: set[int] = set()
        for position in choices:
            if not seen.isdisjoint(among[position]):
                return "a repeated part that can be read in several ways, so that matching can explode"
            seen |= among[position]
    return None

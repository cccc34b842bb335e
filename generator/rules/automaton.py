"""Finite automata over bytes: a syntax tree or a text -> an automaton; several automata -> the shortest word they share.

An automaton has state 0 to start in, and for each state its edges `(bytes, next state)`; a set of bytes is an int with bit n
for byte n. No state is without a way to the end. A regex is *searched* for, so its language is `.*R.*`.

Whether several share a word is a search in their product: polynomial (Rabin and Scott, "Finite Automata and Their
Decision Problems", 1959). Whether all words of one belong to another follows the sets of states that the other can be in
(the subset construction), which can be exponentially many. So each search has a number of steps, and says when they ran out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from generator.rules.regex_tree import Bytes, Either, End, Node, Repeat, Start
from generator.rules.regex_tree import Sequence as Parts

ALL: Final = (1 << 256) - 1


@lru_cache
def among(members: frozenset[int]) -> int:
    """The set of these bytes."""
    return sum(1 << byte for byte in members)


_READABLE: Final = (among(frozenset(b"abcdefghijklmnopqrstuvwxyz")), among(frozenset(range(0x21, 0x7F))), ALL)
Edge = tuple[int, int]
_Position = tuple[tuple[int, ...], int]
_Ways = dict[_Position, tuple[_Position, int] | None]


@dataclass(frozen=True, eq=False)
class Automaton:
    """edges: by state. accepting: the states in which a word may end, as a set of bits."""

    edges: tuple[tuple[Edge, ...], ...]
    accepting: int

    @cached_property
    def steps(self) -> dict[tuple[int, int], int]:
        """(set of states, byte) -> set of states, as far as `accepts` has needed it."""
        return {}

    @cached_property
    def forever(self) -> int:
        """States from which every word ends well, as a set of bits."""
        loops = (1 << state for state, edges in enumerate(self.edges) if (ALL, state) in edges)
        return sum(loops) & self.accepting


class Found(NamedTuple):
    """word: the shortest, None if there is none. steps: what the search cost. decided: False when the steps ran out."""

    word: bytes | None
    steps: int
    decided: bool = True


def literal(text: bytes, then: str = "") -> Automaton:
    """The language of one word; of all that begin with it (`prefix`); of the path and all paths below it (`element`)."""
    edges: list[tuple[Edge, ...]] = [((1 << byte, at + 1),) for at, byte in enumerate(text)]
    end = len(text)
    if then == "element":
        return Automaton((*edges, ((1 << ord("/"), end + 1),), ((ALL, end + 1),)), 0b11 << end)
    return Automaton((*edges, ((ALL, end),) if then == "prefix" else ()), 1 << end)


def avoiding(text: bytes, then: str = "") -> Automaton:
    """The language of all words but this one; of all but those that begin with it (then `prefix`)."""
    end = len(text)
    edges = [((1 << byte, at + 1), (ALL & ~(1 << byte), end + 1)) for at, byte in enumerate(text)]
    return Automaton((*edges, () if then else ((ALL, end + 1),), ((ALL, end + 1),)), (1 << end) - 1 | 2 << end)


class _Step(NamedTuple):
    """A node of the graph a regex becomes: reads one of `reads`, or nothing, and goes on at one of `to`."""

    reads: int
    to: tuple[int, ...]
    anchor: type[Start | End] | None = None


def of_regex(tree: Node) -> Automaton:
    """The language of all texts in which a regex is found (Thompson, "Regular Expression Search Algorithm", 1968)."""
    graph: list[_Step] = []

    def add(reads: int, *to: int, anchor: type[Start | End] | None = None) -> int:
        graph.append(_Step(reads, to, anchor))
        return len(graph) - 1

    def loop(body: Node | None, then: tuple[int, ...]) -> int:
        entry = add(0)
        graph[entry] = _Step(0, (add(ALL, entry) if body is None else build(body, entry), *then))
        return entry

    def build(node: Node, then: int) -> int:
        """Where to begin reading `node`, when `then` comes after it."""
        match node:
            case Bytes():
                return add(among(node.among), then)
            case Parts(parts):
                for part in reversed(parts):
                    then = build(part, then)
                return then
            case Either(branches):
                return add(0, *(build(branch, then) for branch in branches))
            case Repeat(body, least, most):
                after = then
                if most is None:
                    then = loop(body, (then,))
                for _ in range((most or least) - least):
                    then = add(0, build(body, then), after)
                for _ in range(least):
                    then = build(body, then)
                return then
            case Start() | End():
                return add(0, then, anchor=type(node))
        raise AssertionError(node)

    done = add(0)
    return _without_empty_steps(graph, loop(None, (build(tree, loop(None, (done,))),)), done)


def _without_empty_steps(graph: Sequence[_Step], first: int, done: int) -> Automaton:
    """The same language with a byte on every edge. `^` holds only before the first byte, `$` only behind the last."""

    def reached(start: Sequence[int], *anchors: type[Start | End]) -> list[int]:
        seen, waiting = dict.fromkeys(start), list(start)
        while waiting:
            step = graph[waiting.pop()]
            for to in step.to if not step.reads and (step.anchor is None or step.anchor in anchors) else ():
                if to not in seen:
                    seen[to] = None
                    waiting.append(to)
        return list(seen)

    states = [reached((first,), Start)]
    accepting = int(done in reached((first,), Start, End))
    number: dict[int, int] = {}
    edges: list[list[Edge]] = []
    for state in states:  # grows
        found: list[Edge] = []
        for at in state:
            if graph[at].reads:
                if at not in number:
                    number[at] = len(states)
                    states.append(reached(graph[at].to))
                    accepting |= (done in reached(graph[at].to, End)) << number[at]
                found.append((graph[at].reads, number[at]))
        edges.append(found)
    return _trimmed(edges, accepting)


def _trimmed(edges: Sequence[Sequence[Edge]], accepting: int) -> Automaton:
    """Without the states from which no word ends."""
    before: list[list[int]] = [[] for _ in edges]
    for state, out in enumerate(edges):
        for _, to in out:
            before[to].append(state)
    alive = {state for state in range(len(edges)) if accepting >> state & 1}
    waiting = list(alive)
    while waiting:
        new = set(before[waiting.pop()]) - alive
        alive |= new
        waiting += new
    order = {state: number for number, state in enumerate(sorted(alive | {0}))}
    kept = tuple(tuple((reads, order[to]) for reads, to in edges[state] if to in alive) for state in order)
    return Automaton(kept, sum(1 << order[state] for state in alive if accepting >> state & 1))


def accepts(automaton: Automaton, word: bytes) -> bool:
    """Whether `word` belongs to the language."""
    states, steps = 1, automaton.steps
    for byte in word:
        beyond = steps.get((states, byte))
        if beyond is None:
            beyond = steps[states, byte] = _next(automaton, states, 1 << byte)
        states = beyond
    return bool(states & automaton.accepting)


def shared(automata: Sequence[Automaton], steps: int) -> Found:
    """The shortest word that all `automata` accept."""
    return _search(automata, None, steps)


def outside(automata: Sequence[Automaton], other: Automaton, steps: int) -> Found:
    """The shortest word that all `automata` accept and `other` does not."""
    return _search(automata, other, steps)


def _search(automata: Sequence[Automaton], other: Automaton | None, steps: int) -> Found:
    """Breadth first, so the first word is a shortest one. A position is a state of each, and the states `other` can be in."""
    start = ((0,) * len(automata), 1 if other else 0)
    back: _Ways = {start: None}
    waiting = deque([start])
    used = 0
    while waiting:
        here = waiting.popleft()
        states, others = here
        if all(each.accepting >> state & 1 for each, state in zip(automata, states, strict=True)) and not (
            other and others & other.accepting
        ):
            return Found(_word(back, here), used)
        for reads, to in _moves(automata, states):
            used += 1 + others.bit_count()
            for part, beyond in _split(other, others, reads) if other else ((reads, 0),):
                there = (to, beyond)
                if there not in back and not (other and beyond & other.forever):
                    back[there] = (here, part)
                    waiting.append(there)
        if used > steps:
            return Found(None, used, decided=False)
    return Found(None, used)


def _moves(automata: Sequence[Automaton], states: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
    moves: list[tuple[int, tuple[int, ...]]] = [(ALL, ())]
    for each, state in zip(automata, states, strict=True):
        moves = [(both, (*so_far, to)) for reads, so_far in moves for edge, to in each.edges[state] if (both := reads & edge)]
    return moves


def _split(automaton: Automaton, states: int, reads: int) -> Iterator[tuple[int, int]]:
    """The bytes of `reads` in parts that lead to the same states, with these states."""
    parts = {0: reads}
    for state in bits(states):
        for edge, to in automaton.edges[state]:
            if edge & reads:
                split: dict[int, int] = {}
                for beyond, part in parts.items():
                    for to_states, bytes_ in ((beyond | 1 << to, part & edge), (beyond, part & ~edge)):
                        if bytes_:
                            split[to_states] = split.get(to_states, 0) | bytes_
                parts = split
    return ((part, beyond) for beyond, part in parts.items())


def _next(automaton: Automaton, states: int, byte: int) -> int:
    beyond = 0
    for state in bits(states):
        for reads, to in automaton.edges[state]:
            if reads & byte:
                beyond |= 1 << to
    return beyond


def bits(states: int) -> Iterator[int]:
    """The members of a set that is held as bits, smallest first."""
    while states:
        low = states & -states
        yield low.bit_length() - 1
        states ^= low


def _word(back: _Ways, end: _Position) -> bytes:
    out = bytearray()
    while step := back[end]:
        end, reads = step
        out.append(next(_lowest(reads & wish) for wish in _READABLE if reads & wish))
    return bytes(reversed(out))


def _lowest(reads: int) -> int:
    return (reads & -reads).bit_length() - 1

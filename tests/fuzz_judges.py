"""Who gets a request: what real nginx does, what `bascule explain` says, and what the naive reference says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from carrier2.dispatch import Address, Destination, Dispatch, Listener, Route
from generator.rules import precedence as rules
from tests import reference
from tests.fuzz_lab import answers
from tests.fuzz_requests import Ask
from tests.fuzz_rules import Bridge, conditions

SERVICE, FIRST = "10.0.0.1", 8001


class Case(NamedTuple):
    """One request to the port `at`. ports: the bridges of each port of the configuration."""

    ports: tuple[tuple[Bridge, ...], ...]
    at: int
    ask: Ask
    http2: bool = False

    @property
    def bridges(self) -> tuple[Bridge, ...]:
        """Of the port that is asked."""
        return self.ports[self.at]


class Verdict(NamedTuple):
    """Who gets a request: a bridge, `cluster` or `refused`, says each judge. A bridge that is not connected leaves it to the cluster."""

    nginx: str
    explain: str
    reference: str

    @property
    def agreed(self) -> bool:
        """Whether all three are the same."""
        return len(set(self)) == 1

    @property
    def sides(self) -> tuple[bool, bool]:
        """Who agrees with whom."""
        return self.nginx == self.explain, self.nginx == self.reference


def listener(number: int, bridges: Sequence[Bridge]) -> Listener:
    """The port as the generator would put it into the routing model; the N-th bridge by name is 10.9.0.N:3000."""
    routes = [Route(c.bridge, rules.routed(c.conditions)) for c in rules.ordered(candidates(bridges))]
    at = {each.name: Address(f"10.9.0.{n}", 3000) for n, each in enumerate(bridges, 1)}
    return Listener(number, "TCP", tuple(routes), tuple(Destination(b.name, at[b.name]) for b in bridges if b.connected))


def candidates(bridges: Sequence[Bridge]) -> list[rules.Candidate]:
    """Every rule of the bridges."""
    return [
        rules.Candidate(b.name, b.created, conditions(written) or (), number)
        for b in bridges
        for number, written in enumerate(b.rules or ({"match": []},))
    ]


def referred(bridges: Sequence[Bridge]) -> list[reference.Bridge]:
    """The bridges for the reference."""
    return [reference.Bridge(b.name, b.created, tuple(conditions(r) or () for r in b.rules)) for b in bridges]


def by_nginx(ports: Sequence[Sequence[Bridge]], cases: Sequence[tuple[int, Ask, bool]]) -> list[str]:
    """Who answers each (port, request, in HTTP/2)."""
    subject = Dispatch(tuple(listener(FIRST + n, bridges) for n, bridges in enumerate(ports)), SERVICE)
    found = answers(subject, [(FIRST + at, asked.http2() if http2 else asked.raw()) for at, asked, http2 in cases])
    return [_named(who, ports[at]) for who, (at, _, _) in zip(found, cases, strict=True)]


def _named(who: str, bridges: Sequence[Bridge]) -> str:
    if who.startswith("10.9.0."):
        return bridges[int(who.split(":", maxsplit=1)[0].rpartition(".")[2]) - 1].name
    return {"400": "refused", "405": "refused", "501": "refused"}.get(who, "cluster" if who.startswith(SERVICE) else who)


def by_explain(known: Sequence[rules.Candidate], asked: Ask, *, http2: bool) -> str:
    """What `bascule explain` says."""
    fields = [(name.replace(b":authority", b"host"), value) for name, value in asked.http2()] if http2 else asked.headers
    headers = [(_text(name), _text(value)) for name, value in fields if name not in (b":method", b":scheme", b":path")]
    target = dict(asked.http2())[b":path"] if http2 else asked.target
    made = rules.request(asked.method.decode("latin-1"), _text(target), headers)
    if isinstance(made, rules.Refused):
        return "refused"
    winner, _ = rules.decide(made, known)
    return winner.bridge if winner else "cluster"


def by_reference(known: Sequence[reference.Bridge], asked: Ask, *, http2: bool) -> str:
    """What docs/rules.md says."""
    return reference.winner(reference.read_http2(asked.http2()) if http2 else reference.read(asked.raw()), known)


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def alone(cases: Sequence[Case]) -> list[Verdict]:
    """The verdicts on cases; those of one port each share a configuration."""
    if all(len(case.ports) == 1 for case in cases):
        return judged([case.bridges for case in cases], [(at, case.ask, case.http2) for at, case in enumerate(cases)])
    return [judged(case.ports, [(case.at, case.ask, case.http2)])[0] for case in cases]


def judged(ports: Sequence[Sequence[Bridge]], cases: Sequence[tuple[int, Ask, bool]]) -> list[Verdict]:
    """The three verdicts on each (port, request, in HTTP/2)."""
    known = [(candidates(bridges), referred(bridges), {b.name: "cluster" for b in bridges if not b.connected}) for bridges in ports]
    verdicts = []
    for who, (at, asked, http2) in zip(by_nginx(ports, cases), cases, strict=True):
        explained, referred_to, idle = known[at]
        others = by_explain(explained, asked, http2=http2), by_reference(referred_to, asked, http2=http2)
        verdicts.append(Verdict(who, *(idle.get(name, name) for name in others)))
    return verdicts

"""A disagreement becomes small: one bridge, one condition and one line of a request, where that is enough.

Real nginx is asked again about every smaller case, many of them in one configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from generator.text.reading import write_yaml
from tests.fuzz_judges import Case, Verdict, alone
from tests.fuzz_requests import Ask
from tests.fuzz_rules import Bridge, Obj, conditions

T = TypeVar("T", str, bytes)
RULES, ROUNDS = 150, 40
"""Rules in one configuration of smaller cases, as nginx is slow to read many; and configurations in all."""


def shrink(case: Case, verdict: Verdict) -> tuple[Case, Verdict]:
    """The smallest case found on which the judges are divided as they are on `case`; the same at every run."""
    smaller = _smaller(case)
    for _ in range(ROUNDS):
        tried = _some(smaller)
        if not tried:
            break
        found = [(c, v) for c, v in zip(tried, alone(tried), strict=True) if v.sides == verdict.sides]
        if found:
            case, verdict = min(found, key=lambda each: _size(each[0]))
            smaller = _smaller(case)
    return case, verdict


def _some(cases: Iterator[Case]) -> list[Case]:
    """The next few; only one where it has several ports."""
    tried: list[Case] = []
    weight = 0
    while weight < RULES and (case := next(cases, None)):
        tried.append(case)
        weight += sum(1 + len(b.rules) for b in case.bridges) + RULES * (len(case.ports) > 1)
    return tried


def _size(case: Case) -> int:
    return len(repr((case.ports, case.ask, case.http2)))


def shown(case: Case, verdict: Verdict) -> str:
    """The case and the three verdicts, for a person."""
    sent = f"HTTP/2 {case.ask.http2()}" if case.http2 else repr(case.ask.raw())
    told = "".join(f"  {judge:<10}{name}\n" for judge, name in verdict._asdict().items())
    bridges = write_yaml([{"bridge": b.name, "created": b.created, "rules": list(b.rules)} for b in case.bridges])
    return f"{bridges}{len(case.ports)} port(s); the request:\n  {sent}\n{told}"


def _smaller(case: Case) -> Iterator[Case]:
    """Cases that are smaller by one step, the larger steps first."""
    for ports, at in _fewer_ports(case):
        yield case._replace(ports=ports, at=at)
    for bridges in (*_one_rule(case.bridges), *_fewer_rules(case.bridges)):
        yield _with(case, bridges)
    if case.http2:
        yield case._replace(http2=False)
    for ask in _simpler(case.ask):
        yield case._replace(ask=ask)
    for bridges in _shorter_rules(case.bridges):
        yield _with(case, bridges)


def _with(case: Case, bridges: tuple[Bridge, ...]) -> Case:
    return case._replace(ports=(*case.ports[: case.at], bridges, *case.ports[case.at + 1 :]))


def _fewer_ports(case: Case) -> Iterator[tuple[tuple[tuple[Bridge, ...], ...], int]]:
    others = [n for n in range(len(case.ports)) if n != case.at]
    if others:
        half = len(others) // 2
        for kept in ([], others[:half], others[half:]) if len(others) > 1 else ([],):
            chosen = sorted([*kept, case.at])
            yield tuple(case.ports[n] for n in chosen), chosen.index(case.at)


def _one_rule(bridges: tuple[Bridge, ...]) -> Iterator[tuple[Bridge, ...]]:
    """With one condition of one rule of one bridge."""
    for bridge in bridges:
        for rule in bridge.rules:
            if len(bridges) > 1 or len(bridge.rules) > 1:
                yield (bridge._replace(rules=(rule,)),)
                yield from ((bridge._replace(rules=({"match": [item]},)),) for item in rule["match"])


def _fewer_rules(bridges: tuple[Bridge, ...]) -> Iterator[tuple[Bridge, ...]]:
    """Without a bridge, a rule of one, a condition of one; no bridge becomes global by it."""
    for n, bridge in enumerate(bridges):
        before, after = bridges[:n], bridges[n + 1 :]
        if len(bridges) > 1:
            yield (*before, *after)
        for m, rule in enumerate(bridge.rules):
            others = bridge.rules[:m], bridge.rules[m + 1 :]
            if len(bridge.rules) > 1:
                yield (*before, bridge._replace(rules=(*others[0], *others[1])), *after)
            items = rule["match"]
            for k in range(len(items)) if len(items) > 1 else ():
                yield (*before, bridge._replace(rules=(*others[0], {"match": items[:k] + items[k + 1 :]}, *others[1])), *after)


def _shorter_rules(bridges: tuple[Bridge, ...]) -> Iterator[tuple[Bridge, ...]]:
    """With a shorter text in one condition."""
    for n, bridge in enumerate(bridges):
        for m, rule in enumerate(bridge.rules):
            for k, item in enumerate(rule["match"]):
                (kind, body), *_ = item.items()
                for field in body.keys() - {"type"}:
                    for text in _shorter(body[field]):
                        changed: Obj = {"match": [*rule["match"][:k], {kind: {**body, field: text}}, *rule["match"][k + 1 :]]}
                        if conditions(changed):
                            rules = (*bridge.rules[:m], changed, *bridge.rules[m + 1 :])
                            yield (*bridges[:n], bridge._replace(rules=rules), *bridges[n + 1 :])


def _simpler(ask: Ask) -> Iterator[Ask]:
    """Without headers, with plainer parts, with shorter ones. HTTP/1.1 keeps its Host."""
    for bare in (Ask(b"GET", ask.target, (), b"HTTP/1.0"), Ask(b"GET", b"/", ask.headers)):
        if bare != ask:
            yield bare
    for n, (name, _) in enumerate(ask.headers):
        version = b"HTTP/1.0" if name.lower() == b"host" else ask.version
        yield ask._replace(headers=ask.headers[:n] + ask.headers[n + 1 :], version=version)
    if ask.body:
        yield ask._replace(body=b"", headers=tuple(h for h in ask.headers if h[0] != b"Content-Length"))
    if ask.method != b"GET":
        yield ask._replace(method=b"GET")
    for target in _shorter(ask.target):
        if target == target.strip(b" "):  # nginx takes blanks around it, which no client sends
            yield ask._replace(target=target)
    for n, (name, value) in enumerate(ask.headers):
        for text in _shorter(value):
            yield ask._replace(headers=(*ask.headers[:n], (name, text), *ask.headers[n + 1 :]))


def _shorter(text: T) -> Iterator[T]:
    """`text` without its halves, its quarters, and so on to its single characters."""
    size = len(text)
    while size:
        for at in range(0, len(text), size):
            yield text[:at] + text[at + size :]
        size //= 2

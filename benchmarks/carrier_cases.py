"""Kinds of rules for benchmarks/carrier.py: N bridges become a Dispatch, and requests of which every second matches one.

Values have the same length at every size, so that a kind is the same signature (carrier2/maps.py) whatever the number of
bridges. Rules stand in the order of precedence of bridges made in random order, as in a cluster.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from generator.rules.precedence import Candidate, ordered, routed

HOSTNAME, PORT = "web-0", 8080
SHADOW, MOVED_SHADOW, SERVICE = "127.2.0.1", "127.2.0.2", "127.3.0.1"
SIZES = (0, 1, 10, 100, 1_000, 10_000)
FEW = (0, 1, 1_000, 10_000)
NOBODY = 50_000
"""Added to a bridge's number, gives a request of the same shape that no bridge has."""

POOL = 10_000
"""Different requests that match, and as many that do not."""


class Ask(NamedTuple):
    """What is in a request besides its Host."""

    path: str = "/item"
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"


class Kind(NamedTuple):
    """rule, ask: of bridge number n, its conditions and a request that meets them. each: bridges to one of `sizes`.

    addresses: of users' processes, shared by all bridges. matched: every second request matches; else none does.
    """

    name: str
    rule: Callable[[int], tuple[Condition, ...]]
    ask: Callable[[int], Ask]
    sizes: tuple[int, ...] = SIZES
    each: int = 1
    addresses: int = 8  # nginx needs two upstream blocks for each
    matched: bool = True


class Case(NamedTuple):
    """One kind at one size. requests: whole requests, by turns one that matches and one that does not, each with who must answer."""

    dispatch: Dispatch
    moved: Dispatch
    requests: list[tuple[str, str]]


def user(n: int) -> Condition:
    """A header of the user's own."""
    return Condition("header", "exact", f"user-{n:05d}", "x-user")


def service(n: int) -> Condition:
    """A path of the user's own."""
    return Condition("path", "prefix", f"/service-{n:05d}")


def _user(n: int) -> tuple[tuple[str, str], ...]:
    return (("X-User", f"user-{n:05d}"),)


def _signature(n: int) -> int:
    return n % NOBODY // 10


def _any_rule(n: int) -> tuple[Condition, ...]:
    """Of the nth bridge when each ten bridges look at something else: a header of another name, a prefix of another length."""
    of = _signature(n)
    if of % 2 == 0:
        return (Condition("header", "exact", f"user-{n:05d}", f"x-team-{of:02d}"),)
    return (Condition("path", "prefix", f"/{'s' * of}-{n:05d}"),)


def _any_ask(n: int) -> Ask:
    of = _signature(n)
    return Ask(headers=((f"X-Team-{of:02d}", f"user-{n:05d}"),)) if of % 2 == 0 else Ask(f"/{'s' * of}-{n:05d}/item")


POST = Condition("method", "exact", "POST")
EXACT = Kind("header exact", lambda n: (user(n),), lambda n: Ask(headers=_user(n)))
PREFIX = Kind("path prefix", lambda n: (service(n),), lambda n: Ask(f"/service-{n:05d}/item"))
BOTH = Kind("header exact AND path prefix", lambda n: (user(n), service(n)), lambda n: Ask(f"/service-{n:05d}/item", _user(n)))
COOKIE = Kind(
    "cookie exact",
    lambda n: (Condition("cookie", "exact", f"user-{n:05d}", "user"),),
    lambda n: Ask(headers=(("Cookie", f"theme=dark; user=user-{n:05d}; lang=en"),)),
)
QUERY = Kind(
    "query exact",
    lambda n: (Condition("query", "exact", f"user-{n:05d}", "user"),),
    lambda n: Ask(f"/item?page=2&user=user-{n:05d}&sort=up"),
)
METHOD = Kind("method AND header exact", lambda n: (POST, user(n)), lambda n: Ask("/item", _user(n), "POST"))
QUARTERS = (EXACT, PREFIX, BOTH, METHOD)
MIXED = Kind("mixed, a quarter each", lambda n: QUARTERS[n % 4].rule(n), lambda n: QUARTERS[n % 4].ask(n))
EXACT_UNMATCHED = Kind("header exact, no request matches", EXACT.rule, EXACT.ask, FEW, matched=False)
PREFIX_UNMATCHED = Kind("path prefix, no request matches", PREFIX.rule, PREFIX.ask, FEW, matched=False)
OWN = Kind("header exact, each bridge an address of its own", EXACT.rule, EXACT.ask, (0, 1, 10, 100, 1_000), addresses=1_000)
REGEX = Kind(
    "header regex, each bridge one of its own",
    lambda n: (Condition("header", "regex", f"^user-{n:05d}-[a-z]+$", "x-user"),),
    lambda n: Ask(headers=(("X-User", f"user-{n:05d}-laptop"),)),
    sizes=(0, 1, 10, 100, 200),
)
SIGNATURES = Kind("header names and prefix lengths, ten bridges each", _any_rule, _any_ask, sizes=(0, 1, 5, 20, 60), each=10)

BY_BRIDGES = (EXACT, PREFIX, BOTH, COOKIE, QUERY, METHOD, MIXED, EXACT_UNMATCHED, PREFIX_UNMATCHED, OWN)
"""Kinds whose number of bridges varies."""

BY_KINDS = (REGEX, SIGNATURES)
"""Kinds whose number of different things to look at varies."""


def case(kind: Kind, size: int) -> Case:
    """`size` 0: an HTTP port whose only rule is on a header that no request has, and requests as at the largest size."""
    bridges = size * kind.each
    rules = [kind.rule(n) for n in range(bridges)] or [(Condition("header", "exact", "1", "x-nobody"),)]
    order = random.Random(1)
    seconds = order.sample(range(86_400), len(rules))
    candidates = [
        Candidate(f"bridge-{n:05d}", f"2026-01-01T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}Z", rule)
        for n, (s, rule) in enumerate(zip(seconds, rules, strict=True))
    ]
    routes = tuple(Route(each.bridge, routed(each.conditions)) for each in ordered(candidates))
    destinations = tuple(Destination(f"bridge-{n:05d}", Address(_host(kind, n), 3000)) for n in range(len(rules)))
    numbers = [n % (bridges or kind.sizes[-1] * kind.each) for n in range(POOL)]
    order.shuffle(numbers)
    requests = []
    for n in numbers:
        first = n if kind.matched else n + NOBODY
        requests += [(kind.ask(first), _host(kind, n) if bridges and kind.matched else SHADOW), (kind.ask(n + NOBODY), SHADOW)]
    return Case(
        dispatch(SHADOW, Listener(PORT, "TCP", routes, destinations)),
        dispatch(MOVED_SHADOW, Listener(PORT, "TCP", routes, destinations)),
        [(written(ask, host), host) for ask, host in requests],
    )


def passed_through() -> Case:
    """The port without rules, a stream, and the requests of the first kind."""
    port = Listener(PORT)
    return Case(dispatch(SHADOW, port), dispatch(MOVED_SHADOW, port), case(EXACT, 0).requests)


def dispatch(shadow: str, listener: Listener) -> Dispatch:
    """A target with one original."""
    return Dispatch((listener,), SERVICE, {HOSTNAME: (shadow,)})


def written(ask: Ask, host: str) -> str:
    """The bytes of a request. X-Want: who must answer, which the answering side checks."""
    lines = [f"{ask.method} {ask.path} HTTP/1.1", "Host: shop.example", *(f"{name}: {text}" for name, text in ask.headers)]
    length = ["Content-Length: 0"] if ask.method == "POST" else []
    return "\r\n".join([*lines, *length, f"X-Want: {host}", "", ""])


def _host(kind: Kind, n: int) -> str:
    n %= kind.addresses
    return f"127.1.{n // 250}.{n % 250 + 1}"

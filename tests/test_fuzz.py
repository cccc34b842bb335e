"""Real nginx, `bascule explain` and a naive reference agree on who gets a request, whatever the rules and its bytes are.

    BASCULE_SEED=17 BASCULE_FUZZ_REQUESTS=200000 pytest tests/test_fuzz.py

The seed stands in the names of the tests. What the judges disagree on is made small before it is shown.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from carrier2.directive import Unquotable
from carrier2.dispatch import Dispatch
from carrier2.nginx import render
from tests import reference
from tests.fuzz_judges import FIRST, SERVICE, Case, judged, listener
from tests.fuzz_lab import answers
from tests.fuzz_requests import ask
from tests.fuzz_rules import Bridge, Port, port
from tests.fuzz_shrink import shown, shrink

SEED = int(os.environ.get("BASCULE_SEED") or Random().randrange(10**6))
REQUESTS = int(os.environ.get("BASCULE_FUZZ_REQUESTS") or 20_000)
PORTS, EACH = 12, 170
"""Ports of one configuration, and requests to each. nginx takes milliseconds to read a map, and a port has a dozen."""

seeded = pytest.mark.parametrize("seed", [SEED])


def ports(rnd: Random) -> Iterator[Port]:
    """Ports that nginx can hold."""
    while True:
        made = port(rnd)
        try:
            render(Dispatch((listener(FIRST, made.bridges),), SERVICE))
        except Unquotable:
            continue
        yield made


def fuzz(seed: int, number: int, *, http2: bool) -> Counter[str]:
    """How many of `number` requests went to a bridge, to the cluster, and nowhere. Fails at the first disagreement."""
    rnd, tally = Random(seed), Counter[str]()
    source = ports(rnd)
    while tally.total() < number:
        made = [next(source) for _ in range(PORTS)]
        asked = [(at, ask(rnd, each), http2) for at, each in enumerate(made) for _ in range(EACH)]
        everyone = tuple(each.bridges for each in made)
        for (at, sent, _), verdict in zip(asked, judged(everyone, asked), strict=True):
            if not verdict.agreed:
                small = shrink(Case(everyone, at, sent, http2), verdict)
                pytest.fail(f"BASCULE_SEED={seed}: the judges disagree\n{shown(*small)}", pytrace=False)
            tally["bridge" if "-" in verdict.nginx else verdict.nginx] += 1
    return tally


@seeded
def test_nginx_does_what_explain_and_the_reference_say(seed: int) -> None:
    """HTTP/1, raw bytes; each verdict is common enough to mean something."""
    tally = fuzz(seed, REQUESTS, http2=False)
    assert set(tally) == {"bridge", "cluster", "refused"}
    assert min(tally.values()) > REQUESTS // 50, tally


@seeded
def test_the_same_over_http2(seed: int) -> None:
    """Header lists, several Cookie fields among them; the path and what is in it have the same meaning."""
    tally = fuzz(seed, REQUESTS // 10, http2=True)
    assert set(tally) == {"bridge", "cluster", "refused"}


def test_what_http2_does_otherwise() -> None:
    """As docs/rules.md says: no second Host, nothing of the connection, blanks are part of a value; Cookie fields are joined."""
    written = [
        {"match": [{"matchHeader": {"name": "x-user", "value": "alice"}}]},
        {"match": [{"matchCookie": {"name": "c", "value": "1"}}]},
    ]
    bridges = (Bridge("alice-0", "2026-11-24T20:00:00Z", tuple(written)),)
    start = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")]
    expected: dict[tuple[tuple[bytes, bytes], ...], str] = {
        ((b"x-user", b"alice"),): "10.9.0.1:3000",
        ((b"x_user", b"alice"),): "10.9.0.1:3000",
        ((b"x-user", b" alice"),): f"{SERVICE}:{FIRST}",
        ((b"x-user", b"alice "),): f"{SERVICE}:{FIRST}",
        ((b"cookie", b"a=b"), (b"cookie", b"c=1")): "10.9.0.1:3000",
        ((b"cookie", b"c=2"), (b"cookie", b"c=1")): f"{SERVICE}:{FIRST}",
        ((b"host", b"a"), (b"x-user", b"alice")): "10.9.0.1:3000",
        ((b"host", b"b"),): "400",
        ((b"X-User", b"alice"),): "400",
        ((b"te", b"trailers"), (b"x-user", b"alice")): "10.9.0.1:3000",
        **{((name, b"1"),): "400" for name in (b"connection", b"upgrade", b"keep-alive", b"te", b"transfer-encoding")},
    }
    subject = Dispatch((listener(FIRST, bridges),), SERVICE)
    assert answers(subject, [(FIRST, [*start, *more]) for more in expected]) == list(expected.values())


@seeded
def test_a_seed_is_a_run(seed: int) -> None:
    """The same rules and the same bytes, and others for another seed."""

    def run(number: int) -> list[tuple[Port, list[bytes]]]:
        rnd = Random(number)
        return [(each, [ask(rnd, each).raw() for _ in range(5)]) for each in (port(rnd) for _ in range(5))]

    assert run(seed) == run(seed) != run(seed + 1)


def test_a_wrong_judge_is_caught_and_the_case_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that goes by letter, not by element, ends as one condition and one line."""
    monkeypatch.setattr(reference, "below", bytes.startswith)
    with pytest.raises(pytest.fail.Exception) as failed:
        fuzz(1, REQUESTS, http2=False)
    message = str(failed.value)
    assert "BASCULE_SEED=1" in message
    assert message.count("matchPath") == message.count("match:") == 1, message
    assert "1 port(s)" in message
    assert message.count("\\r\\n") == 2, message

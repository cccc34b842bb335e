"""Whatever somebody writes where we read: annotations, labels and values of ConfigMaps are anybody's text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generator import names
from generator.asked.admission import read
from generator.cluster.quantity import whole
from generator.cluster.snapshot import OUR_KINDS, Snapshot, is_ours, key_of, labels_of
from generator.cluster.times import after, parse, seconds_between, written
from generator.cluster.workload import original
from generator.desired.generate import generate
from generator.desired.waking import next_end, next_look
from generator.plan import plan
from generator.simulate import STEP_SECONDS, apply, settle
from tests import kube
from tests.kube import Obj

_CONTAINER = ("original-image.", "replaced-container.", "carrier-config.", "carrier-refused.")
_ANNOTATIONS = (
    *(f"bascule.dev/{n}" for n in ("workload", "shadow", "spec-hash", "config-hash", "http-ports", "drained-since", "waits-since")),
    *(f"bascule.dev/{n}" for n in ("shadow-floor", "relay-ports", "relay-refused", "away-grace")),
    *(f"{n}bascule.dev/app" for n in _CONTAINER),
)
_LABELS = (names.ROLE, names.TARGET, names.CARRIER, names.SERVES, names.HELD, names.CLIENT)
_DATA = ("address", "listening", "away", "namespaces", "carrierImage", "carrierImages", "nginx.conf")
_ODD = ("²", "x-²", "web-٣", "-1", "/", "null", "[]", "Pod/web", "9998-12-31T23:59:59Z", "0001-01-01T00:00:00+23:00", "\x00", "a@b")
_AWAY = ('{"20000": "9998-12-31T23:59:59Z"}', '{"20000": "9998-12-31T23:59:59-23:59"}', '{"20000": 5}', '{"²": "²"}')
_KINDS = ("ConfigMap", "GefyraBridge", "GefyraBridgeMount", "GefyraClient", "Pod", "Service")


@cache
def _moment(rounds: int) -> tuple[tuple[Obj, ...], str]:
    """A target with two bridges, one of them with a client that is away, after some rounds."""
    away = kube.bridge(
        "bob", "web", [kube.rule(kube.header("x-user", "bob"))], endpoint="bascule-relay.gefyra.svc.cluster.local:20000", client="bob"
    )
    away = {**away, "connectionProvider": "relay", "metadata": {**away["metadata"], "annotations": {names.AWAY_GRACE: "999999999"}}}
    client = kube.client("bob", metadata={"annotations": {names.RELAY_PORTS: "20000"}})
    settings_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": kube.meta("bascule", "gefyra"), "data": {"namespaces": "shop"}}
    objects = [*kube.deployment("web", {"app": "web"}, [kube.container()], 2, 1), kube.service("web", {"app": "web"})]
    controls = [kube.mount("web", "deployment/web"), kube.bridge("alice", "web", []), away, client, settings_map]
    state, now = kube.rounds([*objects, *controls, *kube.relay(away='{"20000": "2026-11-24T22:29:00Z"}'), *kube.stowaway()], rounds)
    return tuple(state.values()), now


def _altered(objects: tuple[Obj, ...], kind: str, text: str) -> Iterator[list[Obj]]:
    """The objects, over and over, with the text as one note of all objects of that kind."""
    for part, keys in (("annotations", _ANNOTATIONS), ("labels", _LABELS)):
        for key in keys:
            yield [
                {**o, "metadata": {**o["metadata"], part: {**(o["metadata"].get(part) or {}), key: text}}} if o["kind"] == kind else o
                for o in objects
            ]
    for key in _DATA if kind == "ConfigMap" else ():
        yield [{**o, "data": {**(o.get("data") or {}), key: text}} if o["kind"] == kind else o for o in objects]


@pytest.mark.parametrize("kind", _KINDS)
@given(rounds=st.sampled_from((1, 4, 20)), text=st.sampled_from((*_ODD, *_AWAY)) | st.text(max_size=12))
@example(rounds=1, text="x-²")
@example(rounds=20, text="²")
@example(rounds=20, text=_AWAY[0])
@example(rounds=20, text=_AWAY[1])
@settings(max_examples=10)
def test_no_text_ends_the_operator(kind: str, rounds: int, text: str) -> None:
    """Each annotation, label and value of a ConfigMap that we read holds any text at all: the rules are read, objects generated and
    planned, and the next look found, and nothing raises.
    """
    objects, now = _moment(rounds)
    assert any(o["kind"].lower() == kind.lower() for o in objects)
    assert read(Snapshot.of(objects, now)).ends, "the bridge with the client that is away"
    for stream in _altered(tuple({**o, "kind": kind} if o["kind"].lower() == kind.lower() else o for o in objects), kind, text):
        snapshot = Snapshot.of(stream, now)
        next_end(read(snapshot), now)
        desired = generate(snapshot)
        plan(snapshot, desired)
        next_look(desired, now)


@pytest.mark.parametrize("way", ["in", "back", "back, without stand-ins"])
@given(number=st.integers(0, 12), ahead=st.sampled_from((2.0, 600.0, 86400.0)))
@settings(max_examples=30)
def test_a_clock_that_was_ahead_holds_nobody(way: str, number: int, ahead: float) -> None:
    """One look of a walk is taken by a clock that is ahead, also for a day: the walk ends in its time all the same."""
    objects, now = _moment(0 if way == "in" else 20)
    state = {key_of(o): o for o in objects if way == "in" or o["kind"].lower() not in OUR_KINDS}
    for each in range(120):
        snapshot = Snapshot.of(state.values(), after(now, ahead) if each == number else now)
        for change in plan(snapshot, generate(snapshot)):
            if change.op != "create" or "without" not in way or change.key.kind != "Pod":
                state = apply(state, change, now)
        now = after(now, STEP_SECONDS)
        state = settle(state, now)
    pods = [original(o) for o in state.values() if o["kind"] == "Pod" and not is_ours(o)]
    assert len(pods) == 2
    assert all(not o.held and o.carried == (way == "in") for o in pods)
    assert not [k for k, o in state.items() if is_ours(o) and (way != "in" or labels_of(o)[names.ROLE] == "stand-in")]


@given(st.datetimes(timezones=st.timezones()), st.integers(0, 10**9 - 1))
@example(datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC), 10**9 - 1)
def test_times_stay_readable(moment: datetime, seconds: int) -> None:
    """A time that is read can be written, moved on and read again, as far as it lies in the future."""
    if found := parse(moment.isoformat()):
        then = after(written(found, "microseconds"), seconds)
        assert parse(then) is not None
        assert seconds_between(written(found, "seconds"), then) >= 0


@given(st.text(alphabet="0123456789²٣-+_ ", max_size=8), st.integers(1, 6))
def test_whole_numbers_are_ascii_digits(text: str, digits: int) -> None:
    """`whole` reads what `str` would write again but for zeros in front, and nothing else."""
    number = whole(text, digits)
    assert (number is not None) == (0 < len(text) <= digits and set(text) <= set("0123456789"))
    assert number is None or str(number).zfill(len(text)) == text

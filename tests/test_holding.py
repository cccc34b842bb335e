"""What a command that holds a connection asks of the relay: a port for each bridge whose process listens, and none that is not needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import cast

import pytest

from generator.cli import holding
from generator.live.session import Session
from tests.session_lab import free_port, hello, listens, serving, until


class Asked:
    """Stands for a session: `ports` is what it was asked for last."""

    def __init__(self) -> None:
        self.ports: dict[int, int] = {}

    def want(self, ports: Mapping[int, int]) -> None:
        """As Session.want."""
        self.ports = dict(ports)


def test_only_ports_whose_process_listens_are_asked_for() -> None:
    """Each leads to a tap of its own; which have nobody is said by bridge."""
    session, down = Asked(), free_port()
    with ExitStack() as stack, serving(hello) as up:
        held = holding.Held(cast(Session, session), lambda *_, **__: None, stack)
        held.lead({"one": {20000: up, 20001: down}, "two": {20002: up}})
        until(lambda: held.silent("one") == [down], "that nobody listens")
        until(lambda: session.ports.keys() == {20000, 20002}, "the two others")
        assert held.silent("two") == []
        assert all(map(listens, session.ports.values()))
        assert len(set(session.ports.values())) == 2
        with serving(hello, down):
            until(lambda: session.ports.keys() == {20000, 20001, 20002}, "all three")
        held.lead({"two": {20002: up}})
        assert session.ports.keys() == {20002}


@pytest.mark.parametrize("lingers", [0.0, 1e9])
def test_what_no_bridge_needs_any_more_is_given_back(monkeypatch: pytest.MonkeyPatch, lingers: float) -> None:
    """Not at once, as answers may be on their way; but however many come and go, threads and ports do not add up."""
    monkeypatch.setattr(holding, "_LINGERS", lingers)
    session, before = Asked(), threading.active_count()
    with ExitStack() as stack:
        held = holding.Held(cast(Session, session), lambda *_, **__: None, stack)
        with serving(hello) as port:
            taps = []
            for number in range(20):
                held.lead({f"bridge-{number}": {20000: port}})
                until(lambda: session.ports.keys() == {20000}, "its port")
                taps.append(session.ports[20000])
            if lingers:
                assert all(map(listens, taps))
            else:
                until(lambda: threading.active_count() - before < 20, "the end of threads")
                assert [listens(tap) for tap in taps] == [False] * 19 + [True]

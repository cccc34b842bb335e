"""A bridge that a command makes: written, and held while its requests are shown."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from generator.cli import asking, holding, live
from generator.cli.leaving import taken_down
from generator.cli.stream import Source, clock
from generator.cli.wishes import Concerned, put, wishes
from generator.cluster.snapshot import Key, Obj, annotations_of, key_of
from generator.errors import InputError
from generator.names import AWAY_GRACE

if TYPE_CHECKING:
    from generator.live.kube import Kube

_SOON, _LATER = 0.1, 2.0
"""Seconds between two looks at the bridge, until it is ACTIVE and from then on."""
_NOTICED: Final = 1.0
"""Seconds after which it is said what is waited for."""
_PATIENCE: Final = 60.0
"""Seconds that a detached bridge has to be given its port."""
_SILENT: Final = 20.0
"""Seconds for which the user's process does not listen, after which the bridge is to wait for it: less than its grace, asking.GRACE."""
_TRIES: Final = 5
"""How often a bridge is written that another writer was faster with."""


class _Declined(Exception):
    """The cluster refuses the bridge; says why."""


def _write(kube: Kube, asked: Obj) -> None:
    """Create the bridge, or take up the one of that name. Raises _Declined, InputError."""
    from generator.live.failures import Conflict, Invalid, NotFound, Refused  # noqa: PLC0415  # only when a cluster is written to

    key = key_of(asked)
    for left in reversed(range(_TRIES)):
        try:
            with live.answers(kube):
                there = _there(kube, key)
                # its client may have been away for longer than a command's bridge would wait
                wish = wishes([_graced(asked, asking.GRACE, asking.SILENT_GRACE) if there else asked], map(_anew, there), delete=False)[0]
                put(kube, wish._replace(op="patch" if there else "create"))
        except Conflict as error:  # the operator has written to it meanwhile
            if not left:
                raise _Declined(str(error)) from error
            time.sleep(_SOON)
        except (Invalid, NotFound, Refused) as error:
            raise _Declined(str(error)) from error
        else:
            return


def _anew(there: Obj) -> Obj:
    """A bridge that is taken up, without what was said of it before, and without the grace that its command of before gave it."""
    annotations = {name: value for name, value in annotations_of(there).items() if name != AWAY_GRACE}
    kept = {field: value for field, value in there.items() if field not in ("state", "status")}
    return {**kept, "metadata": {**there["metadata"], "annotations": annotations}}


def _graced(obj: Obj, before: str, after: str) -> Obj:
    """The bridge with the grace `after`, if it has `before`; itself if it has another one or none."""
    annotations = annotations_of(obj)
    if annotations.get(AWAY_GRACE) != before:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**annotations, AWAY_GRACE: after}}}


def _there(kube: Kube, key: Key) -> list[Obj]:
    from generator.live.failures import NotFound  # noqa: PLC0415  # as above

    with contextlib.suppress(NotFound):
        found = kube.get(key)
        if not found["metadata"].get("deletionTimestamp"):
            return [found]
    return []


def detached(kube: Kube, asked: Obj, tell: holding.Tell, stop: threading.Event, *, named: bool) -> int:
    """Write the bridge and wait until it has its port of the relay; the exit code. named: the client, by the user."""
    from generator.live.failures import Forbidden, KubeError  # noqa: PLC0415  # as above

    client, name = asked["client"], asked["metadata"]["name"]
    holding.introduced(kube, client, tell, named=named)
    try:
        _write(kube, asked)
    except _Declined as error:
        tell("refused", f"refused {error}", bridge=name, message=str(error))
        return 1
    deadline, missing = time.monotonic() + _PATIENCE, "the operator to give it a port of the relay"
    while not stop.is_set() and time.monotonic() < deadline:
        try:
            if any(asking.relay_ports(obj) for obj in _there(kube, key_of(asked))):
                tell("made", f"{name} is made; `bascule connect --client {client}` brings its requests here", bridge=name)
                return 0
            missing = "the operator to give it a port of the relay"
        except KubeError as error:  # the bridge is there all the same
            missing = f"the API server: {error}"
            if isinstance(error, Forbidden):
                break
        stop.wait(_SOON)
    tell("waiting", f"{name} is made, and waits for {missing}; `bascule status` shows how far it is", bridge=name)
    return 1


def attached(source: Source, asked: Obj, plan: Concerned, tell: holding.Tell, stop: threading.Event, *, named: bool) -> int:
    """Hold the connection until it ends, then take the bridge down; the exit code. named: as above."""
    kube, name = source.kube, asked["metadata"]["name"]
    with holding.held(kube, source.context, asked["client"], tell, named=named) as connection:
        try:
            _write(kube, asked)
        except _Declined as error:
            tell("refused", f"refused {error}", bridge=name, message=str(error))
            tell("unwritten", "nothing was written")
            return 1
        try:
            lost = _hold(kube, asked, connection, tell, stop)
        finally:
            stop.set()  # from here on another Ctrl-C leaves at once
            down = taken_down(source, asked, plan, tell)
    if lost:
        tell("lost", f"{name}: {lost}", bridge=name)
    return 0 if down and not lost else 1


def _hold(kube: Kube, asked: Obj, connection: holding.Held, tell: holding.Tell, stop: threading.Event) -> str:
    """Lead the bridge's requests here, and say how far it is, until `stop`; "" then, else why it is lost."""
    from generator.live.failures import KubeError, NotFound  # noqa: PLC0415  # only when a cluster is read

    name, began = asked["metadata"]["name"], time.monotonic()
    active, said, missing, since, heard = False, "", "", began, began
    silent: list[int] = []
    while not stop.is_set():
        try:
            obj = kube.get(key_of(asked))
        except NotFound:
            return "it is gone: somebody has deleted it, or its time is over"
        except KubeError as error:
            found = f"the API server: {error}"
        else:
            if refusal := _refusal(obj):
                return refusal
            ports = asking.relay_ports(obj)
            connection.lead({name: ports})
            silent = connection.silent(name)
            heard = heard if ports and set(silent) >= set(ports.values()) else time.monotonic()
            _wait_for_process(kube, obj, wait=time.monotonic() - heard > _SILENT)
            found = _missing(obj, connection.holds() >= set(ports), silent)
        now = time.monotonic()
        if not found and not active:
            tell("active", f"{name} is ACTIVE after {now - began:.1f} s; Ctrl-C takes it down", bridge=name, seconds=round(now - began, 3))
        if found != missing:
            missing, since = found, now
        if missing and missing != said and now - since >= _NOTICED:
            tell("waiting", f"waiting for {missing}{_nobody(kube)}", bridge=name, message=missing)
            said = missing
        active, said = not found, said if found else ""
        pause = time.monotonic() + (_LATER if active or silent else _SOON)
        while not stop.wait(_SOON) and time.monotonic() < pause and connection.silent(name) == silent:
            pass
    return ""


def _conditions(obj: Obj) -> dict[str, Obj]:
    return {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()}


def _refusal(obj: Obj) -> str:
    accepted = _conditions(obj).get("Accepted", {})
    refused = accepted.get("status") == "False" and accepted.get("reason") != "Pending"
    return f"{accepted['reason']}: {accepted['message']}" if refused else ""


def _wait_for_process(kube: Kube, obj: Obj, *, wait: bool) -> None:
    """Let the bridge outlive, or not any more, that nobody listens on its ports: to the operator that looks like a client that is away.

    Until it says ACTIVE it may not know that somebody listens again, and the time since nobody did may be longer than the grace.
    """
    from generator.live.failures import KubeError  # noqa: PLC0415  # only when a cluster is written to

    wanted = _graced(obj, asking.GRACE, asking.SILENT_GRACE) if wait else _graced(obj, asking.SILENT_GRACE, asking.GRACE)
    if wanted is not obj and (wait or obj.get("state") == "ACTIVE"):
        with contextlib.suppress(KubeError):  # the next look does it
            kube.replace(wanted)


def _missing(obj: Obj, held: bool, silent: list[int]) -> str:
    """What the bridge waits for, "" if its requests come here. silent: the ports of this machine on which nothing listens."""
    fallback = (obj.get("providerParameter") or {}).get("fallback", "cluster")
    if not obj.get("clusterEndpoint"):
        return "the operator to give the bridge a port of the relay"
    if silent:
        meanwhile = "the cluster answers in its place" if fallback == "cluster" else "its requests get a 502"
        return f"a process that listens on port {' and '.join(map(str, silent))}; {meanwhile}"
    if not held:
        return "the connection to the relay"
    if obj.get("state") == "ACTIVE":
        return ""
    waits = [c for c in _conditions(obj).values() if c["status"] != "True"]
    return str(waits[0]["message"]) if waits else "the operator to carry the bridge into the target"


def _nobody(kube: Kube) -> str:
    """That no operator runs, if none does; that the account may not know, if it may not."""
    from generator.live.failures import KubeError  # noqa: PLC0415  # only when a cluster is read

    try:
        found = live.leader(kube, clock())
    except (InputError, KubeError):
        return ""
    return "" if found.holder else f"; {found.words}"

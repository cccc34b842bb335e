"""A bridge that a command has made is taken down: deleted, and its target told."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from generator.cli import asking, holding
from generator.cli.states import Target, judge, pending
from generator.cli.stream import Source
from generator.cli.wishes import Concerned
from generator.cluster.snapshot import Obj, key_of
from generator.errors import InputError

_BACK: Final = 0.2
"""Seconds between two looks at the way back: each is some twenty lists."""
_PATIENCE: Final = 60.0
"""Seconds that the way back may take."""


def taken_down(source: Source, asked: Obj, plan: Concerned, tell: holding.Tell) -> bool:
    """Delete the bridge, and wait until its target is told; whether that was seen."""
    from generator.live.failures import KubeError, NotFound  # noqa: PLC0415  # only when a cluster is written to

    kube, name, key = source.kube, asked["metadata"]["name"], key_of(asked)
    deadline, why = time.monotonic() + _PATIENCE, ""
    asked_for = deleted = False
    tell("removing", f"taking {name} down", bridge=name)
    try:
        while time.monotonic() < deadline:
            try:
                if not asked_for:
                    kube.delete(key)
                    asked_for = True
                if not deleted:
                    kube.get(key)
            except NotFound:
                deleted = True
            except KubeError as error:
                why = str(error)
            if deleted and not (why := _left(source, plan)):
                tell("removed", f"{name} is taken down", bridge=name)
                return True
            time.sleep(_BACK)
    except KeyboardInterrupt:
        tell("left", _stays(name, deleted=deleted), bridge=name)
        raise
    tell("left", f"{_stays(name, deleted=deleted)} ({why})", bridge=name)
    return False


def _stays(name: str, *, deleted: bool) -> str:
    if deleted:
        return f"{name} is deleted; what it changed is put back by the operator, `bascule status` shows how far it is"
    by_itself = f"it goes by itself in {asking.GRACE} s, in a day if your process did not listen"
    return f"{name} is there still; {by_itself}, or: kubectl -n gefyra delete gefyrabridge {name}"


def _left(source: Source, plan: Concerned) -> str:
    """What of the bridge is still in the cluster, "" if nothing is, or where the account cannot see it."""
    if not plan.items:
        return ""
    try:
        found = judge(*replace(source, asked=()).read().judged())
    except InputError as error:
        forbidden = all(p.code == "ClusterForbidden" for p in error.problems)
        return "" if forbidden else error.problems[0].message
    items = plan.of(found)
    wanted = any(isinstance(item, Target) and item.state not in ("ACTIVE", "RESTORING") for item in items)
    return "" if wanted else "; ".join(pending(items))  # a target on its way for others has not this bridge in it

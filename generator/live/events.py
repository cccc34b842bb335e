"""Kubernetes Events for people: what `kubectl describe` shows of a bridge, a mount and a bridged workload, and `kubectl events` of all.

An event is told once, when what an object says of itself changes. Gefyra's command line waits for one with reason `Ready`, later than
the object's birth (Gefyra 2.5, client/gefyra/local/utils.py). Source: events.k8s.io/v1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, NamedTuple

from generator.cluster.snapshot import Key, Obj, key_of, labels_of
from generator.cluster.times import parse, written
from generator.live.failures import Conflict, KubeError, NotFound
from generator.live.kube import Kube
from generator.names import CARRIER, CONTROL_NAMESPACE, digest

_log: Final = logging.getLogger(__name__)
CONTROLLER: Final = "gefyra-operator"
_NOTE: Final = 1024
"""Characters of a note (events.k8s.io/v1)."""
_NAME: Final = 200
"""Characters of the object's name in the event's, which has at most 253 (RFC 1123)."""
_KNOWN: Final = 1000
"""Events of which the number of times is kept; the server forgets them after an hour."""


class Story(NamedTuple):
    """What an object says of itself. Two are the same news when `same` is."""

    kind: str
    reason: str
    note: str

    @property
    def same(self) -> tuple[str, str]:
        """A count in a note ("2 of 3 carriers") is no news; the words of a problem are."""
        return self.reason, self.note if self.kind == "Warning" else ""


def story(obj: Obj | None) -> Story | None:
    """The first of: what keeps it out, what its connection lacks, its state. None before it has been judged."""
    conditions = {c["type"]: c for c in ((obj or {}).get("status") or {}).get("conditions") or ()}
    state = str((obj or {}).get("state") or "")
    if not conditions or not state:
        return None
    for kind in ("Accepted", "ResolvedRefs"):
        condition = conditions.get(kind)
        if condition and condition["status"] == "False" and condition["reason"] != "Pending":
            return Story("Warning", condition["reason"], condition["message"])
    note = str((conditions.get("Programmed") or {}).get("message") or "")
    ready = state == "ACTIVE" or (state == "WAITING" and key_of(obj or {}).kind == "GefyraClient")
    return Story("Normal", "Ready" if ready else state.capitalize(), note)


def events_for(before: Obj | None, after: Obj, now: str) -> list[Obj]:
    """The events of a bridge or mount that was `before` (None: not known) and is `after`: one, or none. now: RFC 3339."""
    old, new = story(before), story(after)
    if new is None or (old is not None and old.same == new.same):
        return []
    return [_event(after, new, now)]


def events_of_workload(workload: Obj, before: Iterable[Obj], after: Iterable[Obj], now: str) -> list[Obj]:
    """The event of a workload whose Pods were `before` and are `after`: `Bridged` with the first original, `Restored` after the last."""
    was, now_is = (sum(CARRIER in labels_of(pod) for pod in pods) for pods in (before, after))
    if bool(was) == bool(now_is):
        return []
    bridged = "requests that match a bridge's rules go to its owner: kubectl get gefyrabridges -n gefyra"
    told = Story("Normal", "Bridged", bridged) if now_is else Story("Normal", "Restored", "every Pod runs its own image again")
    return [_event(workload, told, now)]


def begun(now: str) -> list[Obj]:
    """The events for which Gefyra's `install --wait` waits: operator and webhook are there (Gefyra 2.5, client/gefyra/api/install.py)."""
    metadata = {"name": CONTROLLER, "namespace": CONTROL_NAMESPACE}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    stories = (Story("Normal", "Gefyra-Ready", "bascule operates"), Story("Normal", "Gefyra-Webhook-Ready", "bascule judges"))
    return [_event(deployment, told, now) for told in stories]


def _event(obj: Obj, told: Story, now: str) -> Obj:
    key, metadata = key_of(obj), obj["metadata"]
    moment, born = parse(now), parse(metadata.get("creationTimestamp") or "")
    if moment is None:
        raise ValueError(f"not an RFC 3339 time: {now!r}")
    if born:
        moment = max(moment, born + timedelta(milliseconds=1))
    reference = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "namespace": key.namespace, "name": key.name}
    name = f"{key.name[:_NAME].rstrip('-.')}.{digest(str((metadata.get('uid'), told)), 16)}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": key.namespace},
        "eventTime": written(moment, "microseconds"),
        "type": told.kind,
        "reason": told.reason,
        "note": told.note if len(told.note) <= _NOTE else f"{told.note[: _NOTE - 3]}...",
        "action": f"{key.kind}-State",
        "regarding": reference | ({"uid": metadata["uid"]} if "uid" in metadata else {}),
        "reportingController": CONTROLLER,
    }


def post(kube: Kube, event: Obj, instance: str, times: dict[str, int]) -> None:
    """Tell it; the same again is one more of its series. Never raises: without events everything works.

    instance: the name of this Pod. times: how often each was told, kept by the caller; threads may share it.
    """
    name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
    try:
        try:
            kube.create({**event, "reportingInstance": instance})
            times[name] = 1
        except Conflict:
            times[name] = times.get(name, 1) + 1
            kube.merge(Key("Event", namespace, name), {"series": {"count": times[name], "lastObservedTime": event["eventTime"]}})
    except NotFound:
        pass  # the namespace has gone, or the server has forgotten the event at this moment
    except KubeError as error:
        _log.warning("event %s of %s not told: %s", event["reason"], event["regarding"]["name"], error)
    for old in list(times)[:-_KNOWN]:
        times.pop(old, None)

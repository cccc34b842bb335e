"""A server for the mirror that has what a test gives it, refuses what it is told to, and lets nothing through until it may."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

import jsonpatch
import pykube

from generator.cluster.snapshot import SETTINGS, Key, Obj, key_of
from generator.live.failures import Forbidden
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.reading import Source
from generator.patch import Op
from tests import kube


class Server(Kube):
    """What is listed is in `objects`, what watches bring in `news`, where None ends one; what is written is noted in `written`.

    refused: sources that may not be listed. held: lists of which the next one waits.
    """

    def __init__(self, objects: list[Obj]) -> None:
        super().__init__(pykube.KubeConfig(kube.NOBODY))
        self.objects = {key_of(o): o for o in objects}
        self.refused: set[Source] = set()
        self.held: dict[Source, Gate] = {}
        self.written: list[tuple[str, Key]] = []
        self.news: defaultdict[Source, SimpleQueue[tuple[str, Obj] | None]] = defaultdict(SimpleQueue)

    def list_objects(self, kind: str, namespace: str = "", _selector: str = "") -> tuple[list[Obj], str]:
        """As it is when the list is asked for, however late the answer comes."""
        found = [o for key, o in self.objects.items() if (key.kind, key.namespace) == (kind, namespace)]
        if (kind, namespace) in self.refused:
            raise Forbidden(f"{kind} is forbidden in {namespace}", 403)
        if gate := self.held.pop((kind, namespace), None):
            gate.reached.set()
            gate.opened.wait()
        return found, "100"

    def watch(self, kind: str, namespace: str, _version: str, _seconds: int) -> Iterator[tuple[str, Obj]]:
        """The news, as they come."""
        return iter(self.news[kind, namespace].get, None)

    def create(self, obj: Obj) -> Obj:
        """It is there, and taken note of."""
        self.written.append(("create", key_of(obj)))
        made = {**obj, "metadata": {**obj["metadata"], "uid": obj["metadata"]["name"], "resourceVersion": "101"}}
        self.objects[key_of(obj)] = made
        return made

    def patch(self, key: Key, operations: tuple[Op, ...] | list[Op], _subresource: str = "") -> Obj:
        """It is patched, and taken note of."""
        self.written.append(("patch", key))
        found = jsonpatch.apply_patch(self.objects[key], list(operations))
        version = str(int(found["metadata"]["resourceVersion"]) + 1)
        self.objects[key] = {**found, "metadata": {**found["metadata"], "resourceVersion": version}}
        return self.objects[key]

    def delete(self, key: Key, _uid: str | None = None, _version: str | None = None) -> Obj | None:
        """It goes."""
        self.written.append(("delete", key))
        self.objects.pop(key, None)
        return None


@dataclass
class Gate:
    """reached: the list has been asked for. opened: it may be answered."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


@contextmanager
def mirrored(server: Server, changed: Callable[[Key, Obj | None, Obj | None], None] = lambda *_: None) -> Iterator[Mirror]:
    """A mirror of the server, which ends with the test."""
    mirror = Mirror(server, changed)
    try:
        yield mirror
    finally:
        mirror.stop()
        for news in list(server.news.values()):
            news.put(None)


def configured(namespaces: str | None) -> list[Obj]:
    """ConfigMap gefyra/bascule with these `namespaces`; None: there is none."""
    if namespaces is None:
        return []
    metadata = {"name": SETTINGS.name, "namespace": SETTINGS.namespace, "resourceVersion": "7"}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"namespaces": namespaces}}]


def living(obj: Obj) -> Obj:
    """A bridge or mount as the server has it, a mount with no patience at all."""
    more = {"missingGracePeriod": 0} if key_of(obj).kind == "GefyraBridgeMount" else {}
    return {**obj, **more, "metadata": {**obj["metadata"], "uid": obj["metadata"]["name"]}}

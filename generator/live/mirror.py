"""What the cluster has, kept up to date by watches: the Snapshot of any moment, at the cost of what has changed since the last.

Each kind in each namespace has a watch of its own, as the rights are given. A watch that is cut goes on where it was; after
"410 Gone" the list is read anew (Kubernetes API concepts, "Efficient detection of changes"). Bookmarks keep the place fresh.

A namespace is followed once all its lists have come. Until then it is in no snapshot: what is not listed is not empty.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from math import inf

from generator import names
from generator.cluster.quantity import whole
from generator.cluster.snapshot import Key, Obj, Snapshot, Space, key_of
from generator.live import metrics
from generator.live.failures import Cut, Forbidden, Gone, KubeError, NotFound, Throttled, Unreachable
from generator.live.kube import Kube
from generator.live.reading import Source, sources, trimmed
from generator.live.sharing import shared

Changed = Callable[[Key, Obj | None, Obj | None], None]
"""Is told each change: the object before and after, None for none."""

_WATCH_SECONDS = 300
_ROUND = 1.0
"""Seconds from the beginning of a watch to that of the next, at least, where the server ends it without an error."""
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 10.0
_TOMBSTONES = 10_000
"""Objects of which it is kept when they went."""
_PROXIES = 60.0
"""Seconds after an outage for which kube-proxy may still be away: between two tries client-go waits 30 s, and up to as long again by
chance (tools/cache/reflector.go). Seen: 30 s after an outage of 30 s."""
_LISTS_AT_ONCE = 4
"""What a list takes while it is read is not given back to the machine."""
_MISSING_WAIT = 60.0
"""Until an optional kind that the server lacks, or the account may not read, is tried again."""
log = logging.getLogger(__name__)


@dataclass
class Mirror:
    """A copy of the namespaces that are followed. Any thread may ask; `changed` is called by the watching threads."""

    kube: Kube
    changed: Changed
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _objects: dict[str, dict[tuple[str, str], Obj]] = field(default_factory=dict)
    _latest: dict[Source, Obj] = field(default_factory=dict)
    _gone: dict[Key, int] = field(default_factory=dict)
    _spaces: dict[str, Space] = field(default_factory=dict)
    _stops: dict[Source, threading.Event] = field(default_factory=dict)
    _synced: set[Source] = field(default_factory=set)
    _awaited: set[Source] = field(default_factory=set)
    _troubles: dict[Source, str] = field(default_factory=dict)
    _away: float = -inf
    _listing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_LISTS_AT_ONCE))

    def follow(self, namespaces: Collection[str]) -> None:
        """Watch these namespaces and the control namespace, and no others any more.

        The first time all are waited for; a namespace that comes later joins when it can.
        """
        wanted = sources(namespaces)
        with self._lock:
            if not self._stops:
                self._awaited.update(wanted)
            for source in set(self._stops) - set(wanted):
                self._stops.pop(source).set()
                self._replace(*source, [], 0)
                self._synced.discard(source)
                self._awaited.discard(source)
                self._troubles.pop(source, None)
                self._latest.pop(source, None)
            for source in set(wanted) - set(self._stops):
                stop = self._stops[source] = threading.Event()
                name = f"watch {source[0]} {source[1]}"
                threading.Thread(target=self._run, args=(*source, wanted[source], stop), name=name, daemon=True).start()

    def stop(self) -> None:
        """End every watch, at its next event."""
        with self._lock:
            for stop in self._stops.values():
                stop.set()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The lists without which nothing may begin, with the reason where one is known; none when the mirror can be trusted.

        A list that the server refuses keeps its own namespace out, and no other; but for those of the control namespace.
        """
        with self._lock:
            missing = sorted(self._awaited)
            return tuple(f"{kind} in {space}: {self._troubles.get((kind, space), 'not listed yet')}" for kind, space in missing)

    @property
    def followed(self) -> frozenset[str]:
        """The namespaces whose lists have all come; the control namespace is one where its workloads are managed too."""
        with self._lock:
            late = {space for kind, space in self._stops.keys() - self._synced}
            return frozenset(space for kind, space in self._stops if kind == "Pod") - late

    def snapshot(self, now: str, *, unheard: bool = False) -> Snapshot:
        """The cluster as it is known now: the control namespace, and those that are followed. unheard: as Snapshot has it.

        Namespaces that have not changed keep their index.
        """
        with self._lock:
            followed = self.followed
            seen = sorted(self._objects.keys() & {names.CONTROL_NAMESPACE, *followed})
            for name in seen:
                if name not in self._spaces:
                    self._spaces[name] = Space.of(name, self._objects[name])
            spaces = [self._spaces[name] for name in seen]
            return Snapshot.made(now, spaces, {}, proxies_behind=self.proxies_behind > 0, unheard=unheard, followed=followed)

    @property
    def proxies_behind(self) -> float:
        """Seconds for which proxies may still route by what was true before the API server was away; 0 if they do not."""
        return max(0.0, self._away + _PROXIES - time.monotonic())

    def get(self, key: Key) -> Obj | None:
        """One object."""
        with self._lock:
            return self._objects.get(key.namespace, {}).get((key.kind, key.name))

    def saw(self, key: Key, obj: Obj | None) -> None:
        """What the server has of an object, None for none: by a watch, or ahead of it in the answer to a write of ours."""
        obj = obj and trimmed(obj)
        with self._lock:
            space = self._objects.setdefault(key.namespace, {})
            before = space.get((key.kind, key.name))
            if obj is None:
                space.pop((key.kind, key.name), None)
            elif _version(obj) <= self._gone.get(key, -1):
                return  # an answer to a write that comes after the news that the object is gone
            elif before is not None and _version(obj) <= _version(before):
                return
            else:  # lists are in order of name: whose is next to it is often of the same owner
                obj = shared(obj, before or self._latest.get((key.kind, key.namespace)))
                space[key.kind, key.name] = self._latest[key.kind, key.namespace] = obj
            if before is obj:
                return
            self._spaces.pop(key.namespace, None)
        self.changed(key, before, obj)

    def _run(self, kind: str, namespace: str, needed: bool, stop: threading.Event) -> None:
        version, wait = "", _FIRST_WAIT
        while not stop.is_set():
            began = time.monotonic()
            try:
                if not version:
                    version = self._list(kind, namespace, stop)
                    continue
                for what, obj in self.kube.watch(kind, namespace, version, _WATCH_SECONDS + random.randrange(60)):  # noqa: S311  # a spread
                    if not self._event(what, obj, stop):
                        return
                    version, wait = obj["metadata"]["resourceVersion"], _FIRST_WAIT
            except Gone:
                metrics.relists.inc()
                version = ""
            except Exception as error:  # noqa: BLE001  # nobody would notice a watch that has died
                version = version if isinstance(error, KubeError) else ""
                wait = self._failed((kind, namespace), needed, error, wait, stop)
                stop.wait(wait * (0.5 + random.random() / 2))  # noqa: S311  # a spread
                continue
            stop.wait(max(0.0, began + _ROUND - time.monotonic()))

    def _failed(self, source: Source, needed: bool, error: Exception, wait: float, stop: threading.Event) -> float:
        """Note why there is no watch; the seconds to wait. What is no KubeError comes of an answer that nobody expects."""
        known = isinstance(error, KubeError)
        trouble = str(error) if known else repr(error)
        if isinstance(error, Unreachable) and not isinstance(error, Cut):
            self._away = time.monotonic()
        with self._lock:
            if stop.is_set():
                return 0.0
            if isinstance(error, Forbidden | NotFound):
                if not needed:
                    self._arrived(source)
                    return _MISSING_WAIT
                if source not in sources(()):
                    self._awaited.discard(source)
            if self._troubles.get(source) != trouble:
                log.warning("watch %s in %s: %s", *source, trouble, exc_info=not known)
            self._troubles[source] = trouble
        return error.retry_after if isinstance(error, Throttled) else min(wait * 2, _LONGEST_WAIT)

    def _list(self, kind: str, namespace: str, stop: threading.Event) -> str:
        with self._listing:
            items, version = self.kube.list_objects(kind, namespace)
        with self._lock:
            if not stop.is_set():
                self._replace(kind, namespace, items, int(version))
                self._arrived((kind, namespace))
        return version

    def _arrived(self, source: Source) -> None:
        """All is known of a source, or that it cannot be."""
        new = source not in self._synced
        self._synced.add(source)
        self._awaited.discard(source)
        self._troubles.pop(source, None)
        if new:
            self.changed(Key(*source, ""), None, None)

    def _replace(self, kind: str, namespace: str, items: Iterable[Obj], version: int) -> None:
        """The whole truth about a kind at a resourceVersion: what is not in it is gone."""
        found = {key_of(o): o for o in items}
        known = [name for k, name in self._objects.get(namespace, {}) if k == kind]
        for name in known:
            if Key(kind, namespace, name) not in found:
                self._forget(Key(kind, namespace, name), version)
        for key, obj in found.items():
            self.saw(key, obj)

    def _event(self, what: str, obj: Obj, stop: threading.Event) -> bool:
        """Take in what a watch brings; False if it is to end."""
        with self._lock:
            if what != "BOOKMARK" and not stop.is_set():
                key = key_of(obj)
                known = self.get(key)
                if what != "DELETED":
                    self.saw(key, obj)
                elif known is None or known["metadata"].get("uid") == obj["metadata"].get("uid"):
                    self._forget(key, _version(obj))
        return not stop.is_set()

    def _forget(self, key: Key, version: int) -> None:
        self._gone[key] = version
        while len(self._gone) > _TOMBSTONES:
            self._gone.pop(next(iter(self._gone)))
        self.saw(key, None)


def _version(obj: Obj) -> int:
    """ResourceVersions of one kind can be compared as numbers (KEP-5504)."""
    return whole(obj["metadata"].get("resourceVersion", ""), 20) or 0

"""Lists that are asked for side by side -> their objects; where the account may not list, what is missing and the Role for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from generator.cluster.snapshot import Key, Obj
from generator.errors import InputError, Problem
from generator.live.failures import Forbidden, NotFound
from generator.live.kube import RESOURCES, Kube, typed

_THREADS: Final = 8
_FORBIDDEN: Final = "the account may not read them"


class Listing(NamedTuple):
    """One list to ask for. namespace "": of the whole cluster. needed: without it nothing can be told.

    singly: what is asked for one by one where the account may not list.
    """

    kind: str
    namespace: str
    needed: bool = True
    selector: str = ""
    singly: tuple[Key, ...] = ()

    @property
    def plural(self) -> str:
        """As the API and its roles spell it."""
        return RESOURCES[self.kind].plural


Say = Callable[[str], None]
Step = Callable[[int, int], None]


def nothing(*_: object) -> None:
    """For who need not be told."""


Answers = list[tuple[Listing, list[Obj] | str]]
"""For each list its objects, or why there are none."""


def ask(kube: Kube, wanted: Sequence[Listing], step: Step = nothing) -> Answers:
    """All of them, some side by side. step: is told how many of how many have come. Raises KubeError when the server does not answer."""
    found: Answers = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="read") as pool:
        for listing, objects in zip(wanted, pool.map(lambda x: _one(kube, x), wanted), strict=True):
            found.append((listing, objects))
            step(len(found), len(wanted))
    return found


def gather(answers: Answers, warn: Say) -> tuple[Obj, ...]:
    """The objects of every list. A missing or forbidden one is a warning, or with all others that are needed one InputError."""
    found: list[Obj] = []
    refused: list[Listing] = []
    left: dict[tuple[str, str], set[str]] = {}
    for listing, objects in answers:
        if not isinstance(objects, str):
            found += objects
        elif listing.needed and objects == _FORBIDDEN:
            refused.append(listing)
        elif listing.kind != "GefyraClient":
            left.setdefault((listing.plural, objects), set()).add(listing.namespace)
    if refused:
        raise InputError(*_rules(refused))
    for (plural, why), spaces in sorted(left.items()):
        warn(f"{plural} of {', '.join(sorted(filter(None, spaces))) or 'the cluster'} are left out: {why}")
    return tuple(found)


def _one(kube: Kube, listing: Listing) -> list[Obj] | str:
    """The objects of a list, or why there are none."""
    try:
        if listing.kind == "Namespace":
            return [typed("Namespace", kube.get(Key("Namespace", "", listing.namespace)))]
        return kube.list_objects(listing.kind, listing.namespace, listing.selector)[0]
    except NotFound:
        return "there is none of that name" if listing.kind == "Namespace" else "the server does not know them"
    except Forbidden as error:
        if error.status == 401:
            raise
        return _singly(kube, listing.singly) if listing.singly else _FORBIDDEN


def _singly(kube: Kube, wanted: Iterable[Key]) -> list[Obj] | str:
    """Those of the objects that are there, or why there are none."""
    found = []
    try:
        for key in wanted:
            with contextlib.suppress(NotFound):
                found.append(typed(key.kind, kube.get(key)))
    except Forbidden:
        return _FORBIDDEN
    return found


def _rules(refused: Iterable[Listing]) -> Iterator[Problem]:
    """Of each namespace what may not be listed, and the rules of a Role that would allow it (rbac.authorization.k8s.io/v1)."""
    spaces: dict[str, list[Listing]] = {}
    for listing in refused:
        spaces.setdefault(listing.namespace, []).append(listing)
    for space, listings in spaces.items():
        groups: dict[str, list[str]] = {}
        for each in listings:
            groups.setdefault(RESOURCES[each.kind].api_version.rpartition("/")[0], []).append(each.plural)
        rules = "; ".join(f'{{apiGroups: ["{g}"], resources: [{", ".join(r)}], verbs: [list]}}' for g, r in sorted(groups.items()))
        where, role = (f"namespace {space}", "a Role there") if space else ("the cluster", "a ClusterRole")
        message = f"the account may not list {', '.join(each.plural for each in listings)} in {where}"
        yield Problem("ClusterForbidden", where, message, f"Bind {role} to it with: {rules}.")

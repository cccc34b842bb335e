"""`--target`: what a user writes -> a workload of the snapshot and one of its containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import click

from generator.asked.targets import template_of
from generator.asked.values import TargetRef, workload
from generator.cluster.snapshot import WORKLOAD_KINDS, Key, Snapshot
from generator.errors import InputError, Problem
from generator.text.walk import Place

At = tuple[Key, str]
"""A workload and one of its containers."""
_MOST: Final = 12
"""Names in an error."""


def target_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--target`."""
    text = "As in deployment/web or shop/deploy/web/app. It may be left out where there is one target only."
    return click.option("--target", metavar="[NAMESPACE/]KIND/NAME[/CONTAINER]", help=text)(function)


def written(at: At) -> str:
    """As `--target` takes it."""
    return "/".join((at[0].namespace, at[0].kind.lower(), at[0].name, at[1]))


def resolve(snapshot: Snapshot, targets: Iterable[At], given: str | None) -> At:
    """The container that is meant. Raises InputError.

    targets: of bridges and mounts. The only one of them need not be given; and of several namespaces that have such a workload, or
    several containers of it, the only one that is a target need not be named.
    """
    known = sorted(set(targets))
    if given is None:
        if len(known) == 1:
            return known[0]
        if known:
            raise _unknown(f"there are {len(known)} targets and none is named", f"Give one of {_listed(map(written, known))}.")
        raise _unknown("no bridge or mount has a target, and none is named", "Give --target shop/deployment/web.")
    ref, namespaces = _read(snapshot, given)
    if len(namespaces) > 1:
        aimed_at = [n for n in namespaces if any(key == Key(ref.kind, n, ref.name) for key, _ in known)]
        namespaces = aimed_at if len(aimed_at) == 1 else namespaces
    if len(namespaces) > 1:
        which = _listed(f"{n}/{ref.kind.lower()}/{ref.name}" for n in namespaces)
        raise _unknown(f"{ref.kind} {ref.name} is in {len(namespaces)} namespaces", f"Give one of {which}.")
    if not namespaces:
        where, there = (f" in {ref.namespace}", [ref.namespace]) if ref.namespace else ("", list(snapshot.spaces))
        what = f"{ref.kind} {'/'.join(filter(None, (ref.namespace, ref.name)))}"
        message = f"{what} is not in the stream (there{where}: {_listed(_workloads(snapshot, there)) or 'none'})"
        raise _unknown(message, "Correct the name, or add the object to the stream.")
    key = Key(ref.kind, namespaces[0], ref.name)
    return key, _container(snapshot, key, ref.container, {c for k, c in known if k == key})


def _read(snapshot: Snapshot, given: str) -> tuple[TargetRef, list[str]]:
    """What is named, its namespace "" if none is; and the namespaces that have it. Raises InputError for what is no name."""
    place, parts = Place("--target", []), given.split("/")
    if len(parts) not in (2, 3, 4) or not all(parts):
        raise _unknown(f"{given!r} is not [NAMESPACE/]KIND/NAME[/CONTAINER]", "Write deployment/web or shop/deploy/web/app.")
    short = len(parts) == 2 or (len(parts) == 3 and _is_workload(parts[0], parts[1]) and not _is_workload(parts[1], parts[2]))
    namespace, (kind, name, *container) = ("", parts) if short else (parts[0], parts[1:])
    ref = workload(place, f"{kind}/{name}", namespace, "".join(container))
    if ref is None:
        raise InputError(*place.problems)
    searched = snapshot.spaces if short else [namespace]
    return replace(ref, namespace=namespace), [n for n in searched if snapshot.space(n).get(ref.kind, ref.name)]


def _is_workload(kind: str, name: str) -> bool:
    return workload(Place("", []), f"{kind}/{name}", "", "") is not None


def _container(snapshot: Snapshot, key: Key, named: str, bridged: set[str]) -> str:
    obj = snapshot.space(key.namespace).get(key.kind, key.name)
    assert obj
    names = [c["name"] for c in template_of(obj)["spec"]["containers"]]
    likely = [named] if named else names if len(names) == 1 else sorted(bridged.intersection(names))
    if len(likely) == 1 and likely[0] in names:
        return str(likely[0])
    cure = f"Write {written((key, names[0]))}; there are {', '.join(names)}."
    if named:
        raise _unknown(f"{key} has no container {named!r}", cure)
    raise InputError(Problem("ContainerAmbiguous", "--target", f"{key} has {len(names)} containers and none is named", cure))


def _workloads(snapshot: Snapshot, namespaces: Iterable[str]) -> list[str]:
    kinds = [(n, kind) for n in namespaces for kind in WORKLOAD_KINDS[:3]]
    return [f"{n}/{kind.lower()}/{o['metadata']['name']}" for n, kind in kinds for o in snapshot.space(n).all(kind)]


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:_MOST]) + (f" and {len(shown) - _MOST} more" if len(shown) > _MOST else "")


def _unknown(message: str, cure: str) -> InputError:
    return InputError(Problem("TargetUnknown", "--target", message, cure))

"""The files that a container has mounted from ConfigMaps, Secrets and the downward API, as kubelet makes them (pkg/volume/configmap,
secret, downwardapi, projected).

What the cluster says of paths is not trusted: none leads out of the folder below which they are laid out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from generator.cluster.snapshot import Key, Obj, annotations_of, labels_of
from generator.environment import Find, expanded, field_of, resource_of, unknown

_MODE: Final = 0o644
"""defaultMode of every such volume (API reference, Volume)."""
_NAME_MAX: Final = 255
_PATH_MAX: Final = 3000
"""Bytes: Linux ends at 4096, and the folder's own path comes before."""
_NOT_BROUGHT: Final = {
    "persistentVolumeClaim": "its data stays in the cluster",
    "ephemeral": "its data stays in the cluster",
    "emptyDir": "it begins empty; make a folder where the program wants one",
    "hostPath": "it belongs to the node",
    "csi": "its driver runs on the node",
    "serviceAccountToken": "it would let a program here act as the Pod",
}
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}

Path = tuple[str, ...]
"""The parts of a path; never `..`, none empty."""


class File(NamedTuple):
    """mode: permission bits, as in the container."""

    content: bytes
    mode: int


class Mounted(NamedTuple):
    """files: by path without the leading slash. missing: `PATH: why` of what is not among them."""

    files: dict[str, File]
    missing: tuple[str, ...]


def mounted(pod: Obj, container: str, values: Mapping[str, str], find: Find) -> Mounted:
    """The mounted files of a container of a Pod, or of a Pod template with metadata.namespace.

    values: its environment, for subPathExpr. find: gives ConfigMaps and Secrets. A mount hides what others have at its path, and the
    deeper one comes later (containerd sorts them so).
    """
    (spec,) = [c for c in pod["spec"]["containers"] if c["name"] == container]
    volumes = {v["name"]: v for v in pod["spec"].get("volumes") or ()}
    files: dict[Path, File] = {}
    missing: list[str] = []
    for mount in sorted(spec.get("volumeMounts") or (), key=lambda m: len([p for p in m["mountPath"].split("/") if p])):
        place = mount["mountPath"]
        try:
            at, below = _parts(place), _parts(_sub_path(mount, values))
            content, lost = _volume(pod, volumes.get(mount["name"]), find)
            missing += [f"{_shown(place)}: {why}" for why in lost]
            files = {path: file for path, file in files.items() if path[: len(at)] != at}
            found = {at + path[len(below) :]: file for path, file in content.items() if path[: len(below)] == below}
            if below and not found and not lost:
                missing.append(f"{_shown(place)}: volume {mount['name']} has nothing at its subPath")
            missing += [f"{_shown('/' + '/'.join(path))}: another file is in its way" for path in _added(files, found)]
        except LookupError as error:
            missing.append(f"{_shown(place)}: {error.args[0]}")
    return Mounted({"/".join(path): file for path, file in files.items()}, tuple(missing))


def _shown(name: str) -> str:
    """As it is, or quoted where it could do something to a terminal."""
    return name if name.isascii() and name.isprintable() else ascii(name)


def _parts(path: str) -> Path:
    """Raises LookupError for a path that could lead elsewhere, or that no file can have."""
    found = tuple(part for part in path.split("/") if part not in ("", "."))
    try:
        sizes = [len(part.encode()) for part in found]
    except UnicodeEncodeError:
        sizes = [_PATH_MAX]
    if ".." in found or "\0" in path or "\\" in path or max(sizes, default=0) > _NAME_MAX or sum(sizes) + len(sizes) > _PATH_MAX:
        raise LookupError(f"{_shown(path[:80])} is no path that is written here")
    return found


def _sub_path(mount: Obj, values: Mapping[str, str]) -> str:
    written = mount.get("subPathExpr") or ""
    if names := unknown(written, values):
        raise LookupError(f"its subPathExpr needs {_shown(', '.join(names))}, which is not known here")
    return expanded(written, values) or mount.get("subPath") or ""


def _added(files: dict[Path, File], more: Mapping[Path, File]) -> Iterator[Path]:
    """Put files beside others; give those that cannot be there, since a file would be a folder too."""
    folders = {path[:n] for path in files for n in range(len(path))}
    for path, file in more.items():
        above = {path[:n] for n in range(len(path))}
        if not path or path in folders or not above.isdisjoint(files):
            yield path
        else:
            files[path] = file
            folders |= above


def _volume(pod: Obj, volume: Obj | None, find: Find) -> tuple[dict[Path, File], list[str]]:
    """The files of a volume, and why some are not there."""
    kinds = [k for k in volume if k != "name"] if volume else []
    kind = kinds[0] if kinds else "persistentVolumeClaim"  # as of a StatefulSet's volumeClaimTemplates
    spec: Obj = (volume or {}).get(kind) or {}
    sources = spec.get("sources") or () if kind == "projected" else [{kind: spec}]
    files: dict[Path, File] = {}
    missing: list[str] = []
    for kind_, source in ((k, s or {}) for each in sources for k, s in each.items()):
        for path, item in _source(pod, kind_, source, find):
            if isinstance(item, str):
                missing.append(item)
                continue
            try:
                parts = _parts(path)
            except LookupError as error:
                missing.append(error.args[0])
                continue
            mode = item.mode if item.mode >= 0 else spec.get("defaultMode")
            file = File(item.content, _MODE if mode is None else mode & 0o777)
            missing += [f"{_shown(path)}: another file is in its way" for _ in _added(files, {parts: file})]
    return files, missing


def _source(pod: Obj, kind: str, source: Obj, find: Find) -> Iterator[tuple[str, File | str]]:
    """Each path of a source with its file, mode -1 where that is the volume's, or why there is none."""
    if kind == "downwardAPI":
        for item in source.get("items") or ():
            try:
                yield item["path"], File(_said(pod, item).encode(errors="replace"), _mode(item))
            except LookupError as error:
                yield item["path"], f"{_shown(item['path'])}: {error.args[0]}"
    elif kind in ("configMap", "secret"):
        yield from _data(pod, "ConfigMap" if kind == "configMap" else "Secret", source, find)
    else:
        yield "", f"{kind} is not brought: {_NOT_BROUGHT.get(kind, 'only ConfigMaps, Secrets and the downward API are')}"


def _data(pod: Obj, kind: str, source: Obj, find: Find) -> Iterator[tuple[str, File | str]]:
    name, optional = source.get("secretName") or source.get("name") or "", bool(source.get("optional"))
    found = find(Key(kind, pod["metadata"]["namespace"], name))
    if isinstance(found, str):
        if not optional:
            yield "", f"{kind} {name}: {found}"
        return
    texts, coded = found.get("data") or {}, found.get("binaryData") or {}
    if kind == "Secret":
        texts, coded = {}, texts
    for item in source.get("items") or [{"key": key, "path": key} for key in sorted({*texts, *coded})]:
        key, path = item["key"], item["path"]
        if key in texts:
            yield path, File(str(texts[key]).encode(errors="replace"), _mode(item))
        elif key in coded:
            try:
                yield path, File(base64.b64decode(coded[key] or ""), _mode(item))
            except ValueError:
                yield path, f"{kind} {name} has no base64 at {_shown(key)}"
        elif not optional:
            yield path, f"{kind} {name} has nothing at {_shown(key)}"


def _mode(item: Obj) -> int:
    mode = item.get("mode")
    return -1 if mode is None else mode & 0o777


def _said(pod: Obj, item: Obj) -> str:
    """What a Pod says of itself in a file: as in a variable, and all labels or annotations, a line each (pkg/fieldpath, FormatMap)."""
    if ref := item.get("resourceFieldRef"):
        return resource_of(pod, ref.get("containerName") or "", ref)
    path = (item.get("fieldRef") or {}).get("fieldPath") or ""
    if path in ("metadata.labels", "metadata.annotations"):
        notes = (labels_of if path == "metadata.labels" else annotations_of)(pod)
        return "\n".join(f"{name}={_quoted(value)}" for name, value in sorted(notes.items()))
    return field_of(pod, path)


def _quoted(text: str) -> str:
    """As Go writes %q (strconv.Quote)."""

    def of(c: str) -> str:
        if c in _ESCAPES or c.isprintable():
            return _ESCAPES.get(c, c)
        return f"\\x{ord(c):02x}" if ord(c) < 0x80 else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"

    return '"' + "".join(map(of, text)) + '"'

"""A container's environment as kubelet makes it (pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables): from its spec and what that names.

Left out: what only a running container has, as the variables of its image and of Services.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import ceil
from typing import Any, Final, NamedTuple

from generator.cluster import quantity
from generator.cluster.snapshot import Key, Obj, annotations_of, labels_of

Find = Callable[[Key], Obj | str]
"""The object behind a Key, or why it cannot be read."""
_REFERENCE: Final = re.compile(r"\$(\$|\(([^)]*)\)|)")
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_SOURCES: Final = (("configMapRef", "ConfigMap"), ("secretRef", "Secret"))


class Environment(NamedTuple):
    """values: by name, in order. missing: `NAME: why` of what is not known."""

    values: dict[str, str]
    missing: tuple[str, ...]


def environment(pod: Obj, container: str, find: Find) -> Environment:
    """The environment of a container of a Pod, or of a Pod template with metadata.namespace; find gives ConfigMaps and Secrets.

    A later entry wins over an earlier one, `env` over `envFrom`; $(NAME) means what stands before it.
    """
    (spec,) = [c for c in pod["spec"]["containers"] if c["name"] == container]
    namespace = pod["metadata"]["namespace"]
    values: dict[str, str] = {}
    missing: list[str] = []
    for source in spec.get("envFrom") or ():
        for field, kind in _SOURCES:
            if ref := source.get(field):
                found = find(Key(kind, namespace, ref["name"]))
                if isinstance(found, str):
                    missing += [] if ref.get("optional") else [f"{kind} {ref['name']}: {found}"]
                else:
                    values |= {f"{source.get('prefix') or ''}{name}": value for name, value in sorted(data_of(found).items())}
    for entry in spec.get("env") or ():
        name = entry["name"]
        try:
            value = _value(pod, container, entry, values, find)
        except LookupError as error:
            missing.append(f"{name}: {error.args[0]}")
            values.pop(name, None)
        else:
            values |= {} if value is None else {name: value}
    return Environment(values, tuple(missing))


def data_of(obj: Obj) -> dict[str, str]:
    """The texts of a ConfigMap or Secret; what is no text is left out."""
    found = {str(k): str(v) for k, v in (obj.get("data") or {}).items()}
    return dict(_decoded(found)) if obj["kind"] == "Secret" else found


def _decoded(data: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        try:
            yield name, base64.b64decode(value).decode()
        except ValueError:
            continue


def expanded(text: str, values: Mapping[str, str]) -> str:
    """`text` with $(NAME) replaced by its value where it has one; $$ is a dollar sign (third_party/forked/golang/expansion)."""

    def of(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return values.get(found[2], found[0]) if found[2] is not None else found[0]

    return _REFERENCE.sub(of, text)


def unknown(text: str, values: Mapping[str, str]) -> list[str]:
    """The names in `text`, as in $(NAME), that have no value."""
    return [found[2] for found in _REFERENCE.finditer(text) if found[2] is not None and found[2] not in values]


def _value(pod: Obj, container: str, entry: Obj, values: Mapping[str, str], find: Find) -> str | None:
    """The value of an entry; None where it may be absent, and is. Raises LookupError with the reason."""
    source = entry.get("valueFrom") or {}
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if ref := source.get(field):
            found = find(Key(kind, pod["metadata"]["namespace"], ref["name"]))
            data = {} if isinstance(found, str) else data_of(found)
            if ref["key"] in data:
                return data[ref["key"]]
            if ref.get("optional"):
                return None
            raise LookupError(
                f"{kind} {ref['name']}: {found}" if isinstance(found, str) else f"{kind} {ref['name']} has no text at {ref['key']!r}"
            )
    if ref := source.get("fieldRef"):
        return field_of(pod, ref["fieldPath"])
    if ref := source.get("resourceFieldRef"):
        return resource_of(pod, ref.get("containerName") or container, ref)
    if source:
        raise LookupError(f"valueFrom.{next(iter(source))} is not known here")
    return expanded(str(entry.get("value") or ""), values)


def field_of(pod: Obj, path: str) -> str:
    """fieldRef: what a Pod says of itself (pkg/fieldpath, and status by kubelet)."""
    if subscript := _SUBSCRIPT.fullmatch(path):
        return (labels_of if subscript[1] == "labels" else annotations_of)(pod).get(subscript[2], "")
    status = pod.get("status") or {}
    found = {
        "metadata.name": pod["metadata"].get("name"),
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"].get("uid"),
        "spec.nodeName": pod["spec"].get("nodeName"),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName") or "default",
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": ",".join(x["ip"] for x in status.get("hostIPs") or ()),
        "status.podIP": status.get("podIP"),
        "status.podIPs": ",".join(x["ip"] for x in status.get("podIPs") or ()),
    }.get(path)
    if not found:
        raise LookupError(f"no Pod says {path}")
    return str(found)


def resource_of(pod: Obj, container: str, ref: Mapping[str, Any]) -> str:
    """resourceFieldRef: a limit or request, divided by the divisor and rounded up (pkg/api/v1/resource)."""
    spec: Obj = next((c for c in pod["spec"]["containers"] if c["name"] == container), {})
    which, _, name = str(ref["resource"]).partition(".")
    resources = spec.get("resources") or {}
    found = (resources.get(which) or {}).get(name)
    if found is None and which == "requests":
        found = (resources.get("limits") or {}).get(name)
    if found is None and which == "requests":
        return "0"
    if found is None:
        raise LookupError(f"{ref['resource']} of container {container} is not set; the node decides")
    divisor = quantity.parse(ref.get("divisor") or "1")
    return str(ceil(quantity.parse(found) / (divisor or Fraction(1))))

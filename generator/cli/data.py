"""What `-o json` prints: plain data with a version and a kind. Its schema is docs/schema/cli-v1.json."""

from __future__ import annotations

from typing import Any, Final

from generator.cluster.snapshot import Key, Obj
from generator.errors import Problem
from generator.plan import Change, change_json
from generator.text import reading as text

API_VERSION: Final = "cli.bascule.dev/v1"
MASK: Final = "***"
_SECRET: Final = {"Secret": ("data", "stringData")} | dict.fromkeys(
    ("gefyraclient", "GefyraClient"), ("providerConfig", "serviceAccountData")
)
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def envelope(kind: str, **fields: Any) -> dict[str, Any]:
    """The fields under their version and kind."""
    return {"apiVersion": API_VERSION, "kind": kind, **fields}


def as_json(kind: str, **fields: Any) -> str:
    """The fields as JSON text."""
    return text.write_json(envelope(kind, **fields))


def written(output: str, content: dict[str, Any]) -> str:
    """The data as `json` or `yaml`."""
    return text.write_json(content) if output == "json" else text.write_yaml([content])


def reference(key: Key) -> dict[str, str]:
    """What names an object."""
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name}


def problem_data(problem: Problem) -> dict[str, str]:
    """A problem with its severity."""
    names = ("code", "severity", "place", "message", "cure")
    return {name: getattr(problem, name) for name in names}


def change_data(change: Change) -> dict[str, Any]:
    """A change, without the values of a Secret."""
    data = change_json(change)
    if change.key.kind == "Secret":
        if change.body is not None:
            data["body"] = masked(change.body)
        if change.op == "patch":
            data["patch"] = [{**op, "value": MASK} if "value" in op else op for op in change.patch]
    return data


def masked(obj: Obj) -> Obj:
    """The object; of a Secret, with every value hidden, also in what `kubectl apply` noted; of a client, what it connects with."""
    if obj["kind"] not in _SECRET:
        return obj
    fields = [field for field in _SECRET[obj["kind"]] if isinstance(obj.get(field), dict)]
    hidden: dict[str, Any] = {field: dict.fromkeys(obj[field], MASK) for field in fields}
    notes = obj["metadata"].get("annotations") or {}
    if _LAST_APPLIED in notes:
        hidden["metadata"] = {**obj["metadata"], "annotations": {**notes, _LAST_APPLIED: MASK}}
    return {**obj, **hidden}

"""What a bridge, a mount and a client have in common: fields at the top level of a gefyra.dev/v1 object, metadata, a time of birth."""

from __future__ import annotations

from typing import Any, Final

from generator.asked.values import utc
from generator.names import API_VERSION, CONTROL_NAMESPACE
from generator.text.walk import Kind, Place, fields, is_a, shown

COMMON: Final[dict[str, Kind]] = {
    "apiVersion": str,
    "kind": str,
    "metadata": dict,
    "providerParameter": dict,
    "sunset": str,
    "state": str,
    "stateTransitions": object,
    "status": object,
}
_METADATA: Final[dict[str, Kind]] = {"creationTimestamp": str, "labels": dict, "annotations": dict}
_NO_SPEC = "The fields of a Gefyra object stand at its top level, without a spec."


def opened(obj: object, kind: str, known: dict[str, Kind]) -> tuple[Place, dict[str, Any], str]:
    """The place of an object, its top-level fields (none if it is no object at all) and when it was created."""
    name = name_of(obj)
    place = Place(f"{kind} {CONTROL_NAMESPACE}/{name or '?'}", [])
    if not isinstance(obj, dict) or not name:
        cure = f"Give a whole object: {{apiVersion: {API_VERSION}, kind: {kind}, metadata: {{name: ...}}, ...}}."
        place.report("NotAnObject", "metadata.name is missing", cure)
        return place, {}, ""
    values = fields(place, obj, known, _NO_SPEC)
    for field, wanted in (("apiVersion", (API_VERSION,)), ("kind", (kind, kind.lower()))):
        if obj.get(field) not in wanted and not place.field(field).reported:
            place.field(field).report("WrongType", f"{shown(obj.get(field))} is not {wanted[0]}", f"Write {field}: {wanted[0]}.")
    at = place.field("metadata")
    metadata = fields(at, {key: value for key, value in obj["metadata"].items() if key in _METADATA}, _METADATA)
    for key, value in sorted(metadata.get("labels", {}).items(), key=str):
        is_a(at.field("labels").field(key), value, str)
    return place, values, utc(at.field("creationTimestamp"), metadata.get("creationTimestamp", ""))


def name_of(obj: object) -> str:
    """The object's name, "" if it has none."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def note_of(obj: dict[str, Any], name: str) -> object:
    """An annotation, None if there is none."""
    notes = obj["metadata"].get("annotations")
    return notes.get(name) if isinstance(notes, dict) else None

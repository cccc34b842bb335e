"""YAML or JSON text into Kubernetes objects, and objects into YAML or JSON, byte for byte the same every time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from generator.errors import Problem
from generator.text import jsonreader, yamlreader
from generator.text.yamlreader import MAX_PROBLEMS, Document
from generator.text.yamlwriter import write_yaml

__all__ = ["read", "write_json", "write_yaml"]

MAX_BYTES: Final = 256 * 1024 * 1024
_BRIEF: Final = 60  # characters of a value in a message
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WHOLE: Final = "Give whole objects, as `kubectl get -o yaml` prints them: apiVersion: v1, kind: Pod, metadata: {name: web}."


def read(text: str | bytes, source: str) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    """The objects in a stream of YAML documents or JSON values, in their order; a list gives its items.

    text: what `kubectl get ... -o yaml|json` prints, or documents written by hand. Lists are `kind: List`, any `kind: ...List` with items,
        and a bare array.
    source: name of the stream in problems, such as `bridges.yaml` or `stdin`.
    Problems: NotText, YamlSyntax, DuplicateKey, AmbiguousScalar, NotAnObject; then the objects are those that could be read.
    No error is raised.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        decoded = raw.decode("utf-8-sig")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        message = f"the input is not UTF-8 text: {error.reason} at position {error.start}"
        cure = "Save it as UTF-8 (PowerShell: kubectl get ... -o yaml | Out-File -Encoding utf8 FILE)."
        return [], (Problem("NotText", source, message, cure),)
    if len(raw) > MAX_BYTES:
        return [], (
            Problem("NotText", source, f"the input has {len(raw)} bytes, more than {MAX_BYTES}", "Record one namespace at a time."),
        )
    reader = jsonreader.documents if jsonreader.looks_like_json(decoded) else yamlreader.documents
    found, problems = reader(decoded, source)
    if _SURROGATE.search(decoded):
        problems += tuple(_half_characters(found, source))
    objects: list[dict[str, Any]] = []
    for document in found:
        for value, item, line in _singles(document.value, document, ""):
            if missing := _missing(value):
                place = f"{source}, document {document.number}{item}" + (f", line {line}" if line else "")
                problems += (Problem("NotAnObject", place, missing, _WHOLE),)
                if len(problems) >= MAX_PROBLEMS:
                    return objects, problems
            else:
                objects.append(value)
    return objects, problems


def write_json(value: Any) -> str:
    """`value` as JSON: indented by two, keys sorted, a newline at the end. Floats must be finite."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _singles(value: Any, document: Document, item: str) -> Iterator[tuple[Any, str, int]]:
    """The single objects in `value`, each with its item number as text and its first line (0: not known)."""
    inherited: dict[str, Any] = {}
    if isinstance(value, dict) and _is_list(value):
        if value["kind"] != "List":  # as `kubectl get --raw` prints it: the items of a PodList have no kind of their own
            inherited = {"apiVersion": value.get("apiVersion"), "kind": value["kind"].removesuffix("List")}
        value = value["items"] or []
    if not isinstance(value, list):
        yield value, item, document.lines.get(id(value), 0) if item else document.line
        return
    for number, child in enumerate(value, 1):
        if inherited and isinstance(child, dict):
            yield {**inherited, **child}, f"{item}, item {number}", document.lines.get(id(child), 0)
        else:
            yield from _singles(child, document, f"{item}, item {number}")


def _is_list(value: dict[str, Any]) -> bool:
    kind, metadata = value.get("kind"), value.get("metadata")
    named = isinstance(metadata, dict) and "name" in metadata
    return isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items", 0), list | None) and not named


def _missing(value: Any) -> str:
    """What keeps `value` from being a Kubernetes object, or an empty text."""
    if not isinstance(value, dict):
        return f"{_brief(value)} is not an object"
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    fields = {"apiVersion": value.get("apiVersion"), "kind": value.get("kind"), "metadata.name": name}
    absent = [field for field, content in fields.items() if content is None or content == ""]
    wrong = [f"{f} is {_brief(value)}, not text" for f, value in fields.items() if f not in absent and not isinstance(value, str)]
    return "; ".join(([f"{', '.join(absent)} missing"] if absent else []) + wrong)


def _brief(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "a mapping"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


def _half_characters(found: list[Document], source: str) -> Iterator[Problem]:
    """UTF-16 halves that escapes can smuggle in and UTF-8 cannot write."""
    for document in found:
        try:
            json.dumps(document.value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            place = f"{source}, document {document.number}, line {document.line}"
            half = f"\\u{ord(error.object[error.start]):04x}"
            yield Problem("YamlSyntax", place, f"{half} is half a character", "Write the character itself.")

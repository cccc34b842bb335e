"""YAML text into plain values, with the line and column of everything that is wrong with it.

ruamel.yaml gives the events. For large texts, which machines write, PyYAML's C parser does where it is installed: ten
times faster, the same values (ruamel.yaml.clib would not do: its libyaml 0.1.7 refuses `{image: nginx:1.27}`). The values
are built here, because no loader keeps timestamps text, reports *all* doubtful scalars with their place, and bounds what
aliases unfold to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML, error, events

from generator.errors import Problem
from generator.text.scalars import Ambiguous, meaning

try:
    import yaml
except ImportError:  # an extra
    _fast: Any = None
else:
    _fast = yaml

FAST_FROM = 100_000  # characters from which on PyYAML's C parser reads
MAX_DEPTH: Final = 100  # nesting of one document; Kubernetes' own objects stay below 40
TOO_DEEP: Final = "Kubernetes objects are nested less deeply; is this the right file?"
_DEPTH_OF_ITEMS = 3  # the document, its `items`, each item
MAX_UNFOLDED: Final = 100_000  # nodes that aliases may repeat, so that no "billion laughs" grows from a few lines
MAX_PROBLEMS: Final = 20  # after which the rest of a stream is not read
_CONTROL = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAG = "tag:yaml.org,2002:"
_KINDS: Final[dict[type, str]] = {
    getattr(module, f"{name}Event"): name
    for module in ((events, _fast.events) if _fast else (events,))
    for name in ("Scalar", "Alias", "MappingStart", "SequenceStart", "DocumentStart", "MappingEnd", "SequenceEnd")
}
_MARKED_ERRORS: Final = (error.MarkedYAMLError, *([_fast.error.MarkedYAMLError] if _fast else []))
_ERRORS: Final = (error.YAMLError, *([_fast.YAMLError] if _fast else []))
_ENDS: Final = frozenset(c for c, name in _KINDS.items() if name in {"MappingEnd", "SequenceEnd"})


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream.

    number: counted from 1, empty documents too.
    lines: id of a mapping -> its first line, for the document itself and the mappings of a list in it.
    """

    value: Any
    number: int
    line: int
    lines: dict[int, int] = field(default_factory=dict)


class _Stop(Exception):
    """No use in reading on; what is wrong is in `Reader.problems`."""


def documents(text: str, source: str) -> tuple[list[Document], tuple[Problem, ...]]:
    """The documents of a YAML stream, up to the first that cannot be read.

    text: YAML. source: its name in problems. Problems: YamlSyntax, DuplicateKey, AmbiguousScalar. No error is raised.
    """
    reader = _Reader(text, source)
    try:
        if control := _CONTROL.search(text):
            reader.syntax(*position(text, control.start()), f"the character U+{ord(control[0]):04X} is not allowed in YAML")
        reader.stream()
    except _MARKED_ERRORS as fault:
        mark = fault.problem_mark or fault.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        if fault.context_mark and not text[offset(text, line, column) :].strip():  # the end: say where what is not closed begins
            line, column = fault.context_mark.line, fault.context_mark.column
        message = f"{fault.context}: {fault.problem}" if fault.context else str(fault.problem)
        reader.report("YamlSyntax", line, column, message, _cure(str(fault.problem)))
    except _ERRORS as fault:
        reader.report("YamlSyntax", 0, 0, " ".join(str(fault).split()), _cure(""))
    except _Stop:
        pass
    return reader.documents, tuple(reader.problems)


def position(text: str, at: int) -> tuple[int, int]:
    """Line and column, both from 0, of the character at `at`."""
    return text.count("\n", 0, at), at - (text.rfind("\n", 0, at) + 1)


def offset(text: str, line: int, column: int) -> int:
    """Where line `line` and column `column` (both from 0) are: the inverse of `position`."""
    start = 0
    for _ in range(line):
        start = text.find("\n", start) + 1 or len(text)
    return start + column


def excerpt(text: str, line: int, column: int, width: int = 60) -> str:
    """The part of line `line` around `column` (both from 0) that fits a message."""
    start = offset(text, line, 0)
    end = text.find("\n", start)
    whole = text[start : end if end >= 0 else len(text)].rstrip("\r")
    first = max(0, min(column, len(whole)) - width // 2) if len(whole) > width else 0
    return ("..." if first else "") + whole[first : first + width] + ("..." if first + width < len(whole) else "")


def _cure(problem: str) -> str:
    if "\\t" in problem or "cannot start any token" in problem:
        return 'Indent with spaces, and quote text that begins with @, `, % or a tab: name: "@x".'
    if "mapping values" in problem:
        return 'Quote a value that holds a colon and a blank (message: "a: b"), or correct the indentation of this line.'
    if "end of stream" in problem or "']'" in problem or "'}'" in problem:
        return "Close what is opened here: a quote, a bracket or a brace."
    return 'Correct the indentation or quoting of this line; a field looks like `name: "text"`.'


def _events(text: str) -> Iterator[Any]:
    loader = getattr(_fast, "CSafeLoader", None)  # absent where PyYAML was built without libyaml
    if loader and len(text) >= FAST_FROM:
        return iter(_fast.parse(text, Loader=loader))
    return iter(YAML(typ="safe", pure=True).parse(text))


class _Reader:
    """One pass over the events of one stream."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self.number = 0
        self.nodes = self.unfolded = 0  # all nodes with what aliases repeat, and the latter alone
        self.anchors: dict[str, tuple[Any, int]] = {}  # name -> its value and how many nodes that has

    def report(self, code: str, line: int, column: int, message: str, cure: str) -> None:
        document = f", document {self.number}" if self.number else ""
        place = f"{self.source}{document}, line {line + 1}, column {column + 1}"
        self.problems.append(Problem(code, place, f"{message}: `{excerpt(self.text, line, column)}`", cure))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def syntax(self, line: int, column: int, message: str, cure: str = "") -> None:
        self.report("YamlSyntax", line, column, message, cure or _cure(""))
        raise _Stop

    def stream(self) -> None:
        stream = _events(self.text)
        for event in stream:
            if _KINDS.get(event.__class__) == "DocumentStart":
                self.number += 1
                self.anchors = {}
                lines: dict[int, int] = {}
                root = next(stream)
                value = self.node(root, stream, 0, lines)
                if value is not None:
                    self.documents.append(Document(value, self.number, root.start_mark.line + 1, lines))

    def node(self, event: Any, stream: Iterator[Any], depth: int, lines: dict[int, int]) -> Any:
        """The value that begins with `event`. Recursion is bounded by MAX_DEPTH."""
        self.nodes += 1
        kind = _KINDS[event.__class__]
        if kind == "Scalar":
            value = event.value if event.style and event.tag is None else self.scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = (value, 1)
            return value
        if kind == "Alias":
            return self.alias(event)
        if depth >= MAX_DEPTH:
            self.at(event, f"nested deeper than {MAX_DEPTH} levels", TOO_DEEP)
        if event.tag not in {None, "!", f"{_TAG}map", f"{_TAG}seq"}:
            self.at(event, f"the tag {event.tag} means nothing in a Kubernetes object", "Remove the tag.")
        before = self.nodes
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)  # an alias within its own anchor stays unknown
        below = depth + 1
        collection = self.mapping(event, stream, below, lines) if kind == "MappingStart" else self.sequence(stream, below, lines)
        if event.anchor is not None:
            self.anchors[event.anchor] = (collection, self.nodes - before + 1)
        return collection

    def mark(self, code: str, event: Any, message: str, cure: str) -> None:
        self.report(code, event.start_mark.line, event.start_mark.column, message, cure)

    def at(self, event: Any, message: str, cure: str) -> None:
        self.syntax(event.start_mark.line, event.start_mark.column, message, cure)

    def sequence(self, stream: Iterator[Any], depth: int, lines: dict[int, int]) -> list[Any]:
        result = []
        for event in stream:
            if event.__class__ in _ENDS:
                break
            result.append(self.node(event, stream, depth, lines))
        return result

    def mapping(self, start: Any, stream: Iterator[Any], depth: int, lines: dict[int, int]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Any] = []
        for event in stream:
            if event.__class__ in _ENDS:
                break
            if _KINDS[event.__class__] != "Scalar":
                self.at(event, "a key must be text", "Write the key as one word, or in double quotes.")
            key = self.key(event)
            value = self.node(next(stream), stream, depth, lines)
            if key == "<<" and not event.style:
                merged.extend(value if isinstance(value, list) else [value])
                if not all(isinstance(m, dict) for m in merged):
                    self.at(event, "<< merges mappings only", 'Write an alias of a mapping (<<: *name), or quote the key: "<<".')
            elif key in result:
                self.mark("DuplicateKey", event, f"the key {key} stands here a second time", f"Keep one of the two {key}.")
            else:
                result[key] = value
        if merged:  # yaml.org/type/merge.html: own keys first, then earlier mappings before later ones
            result = {**{k: v for m in reversed(merged) for k, v in m.items()}, **result}
        if depth <= _DEPTH_OF_ITEMS:
            lines[id(result)] = start.start_mark.line + 1
        return result

    def key(self, event: Any) -> str:
        self.nodes += 1
        if event.style and event.tag is None and event.anchor is None:
            return str(event.value)
        value = self.node(event, iter(()), 0, {})
        if isinstance(value, str):
            return value
        self.mark("AmbiguousScalar", event, f"the key {event.value or '(empty)'} is not text", f'Write "{event.value}":')
        return str(event.value)

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            self.at(event, f"no anchor of the name {event.anchor} stands before", f"Write &{event.anchor} at the value, or quote the text.")
        value, nodes = self.anchors[event.anchor]
        self.nodes += nodes
        self.unfolded += nodes
        if self.unfolded > MAX_UNFOLDED:
            self.at(event, f"aliases repeat more than {MAX_UNFOLDED} nodes", "Write the values out; no Kubernetes object needs so many.")
        return value

    def scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag is None or tag in {f"{_TAG}{t}" for t in ("null", "bool", "int", "float")}:
            value = meaning(text)
            if isinstance(value, Ambiguous):
                self.mark("AmbiguousScalar", event, value.why, f"Write {value.instead}.")
                return text
            return value
        if tag not in {"!", f"{_TAG}str"}:
            self.at(event, f"the tag {tag} means nothing in a Kubernetes object", "Remove the tag.")
        return text

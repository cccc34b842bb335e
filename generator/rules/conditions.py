"""One rule of a bridge as it was written -> its conditions in normal form, and what each condition asks of a field.

    {match: [{matchPath: {path: /api/, type: prefix}}, {matchHeader: {name: X_User, value: alice}}]}
    -> (Condition("header", "exact", "alice", "x-user"), Condition("path", "prefix", "/api"))

Normal form, and why it is what nginx sees:
- path: the decoded path without query, so no `?`, `#`, `//` or dot segment, and `%` is a percent sign. A prefix is by element.
- header: the name folds case, and `_` is `-`; blanks around a value never arrive. A regex applies to the value only
  (Gefyra's applies to the name too).
- query and cookie: name and value are compared as they are sent, undecoded and with their case.
- `type` is `exact` where it is missing (Gefyra demands it for paths and defaults to it for headers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from carrier2.contract import MAX_TOKEN
from carrier2.dispatch import Condition, Kind, Match
from generator.rules import language
from generator.text.walk import Place, fields, is_a, shown, unknown

MAX_VALUE: Final = 1024
"""Bytes of one value."""
MAX_RULE: Final = MAX_TOKEN // 2
"""Bytes of all names and values of a rule; quoting can double them."""
KUBELET: Final = ("kube-probe/", "kube-lifecycle/")
"""What the User-Agent of kubelet's probes starts with; they never go to a bridge."""


class _Shape(NamedTuple):
    """kind: of the condition. text: the field with its value. name, value: what these must look like, and in words."""

    kind: Kind
    text: str
    name: tuple[re.Pattern[str], str] | None
    value: tuple[re.Pattern[str], str]
    example: str


_SHAPES: Final[dict[str, _Shape]] = {
    "matchPath": _Shape(
        "path",
        "path",
        None,
        (
            re.compile(r"(?!.*//)(?!.*/\.\.?(?:/|$))/[^?#\x00-\x1f\x7f]*"),
            "a decoded path: it starts with / and has no ?, #, //, /./, /../ or control character",
        ),
        "matchPath: {path: /api, type: prefix}",
    ),
    "matchHeader": _Shape(
        "header",
        "value",
        (re.compile(r"[_-]*[A-Za-z0-9][A-Za-z0-9_-]*"), "letters, digits, - and _, not only - and _"),
        (
            re.compile(r"(?! )[^\x00-\x1f\x7f]+(?<! )"),
            "text without control characters and without blanks at its ends",
        ),
        "matchHeader: {name: x-user, value: alice}",
    ),
    "matchMethod": _Shape("method", "method", None, (re.compile(r"[A-Z_-]+"), "a method in capitals"), "matchMethod: {method: POST}"),
    "matchQuery": _Shape(
        "query",
        "value",
        (re.compile(r"[!\"$%'-<>-~]+"), "printable ASCII without blanks, &, = and #"),
        (re.compile(r"[!\"$%'-~]+"), "printable ASCII without blanks, & and #, as it is sent (a blank is + or %20)"),
        "matchQuery: {name: user, value: alice}",
    ),
    "matchCookie": _Shape(
        "cookie",
        "value",
        (re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"), "a token (RFC 6265, section 4.1.1)"),
        (re.compile(r"[!-:<-~]+"), "printable ASCII without blanks and ;"),
        "matchCookie: {name: user, value: alice}",
    ),
}
_MATCHES: Final[dict[str, Match]] = {"exact": "exact", "prefix": "prefix", "regex": "regex"}


def rule(place: Place, written: object) -> tuple[Condition, ...]:
    """The conditions of one item of `rules`, sorted and each once; what is wrong is reported at `place`."""
    values = fields(place, written, {"match": list})
    if "match" not in values:
        if isinstance(written, dict) and written.get("match") is None:
            place.report("RuleInvalid", "the rule has no match", "Write match: [] for a rule that takes every request.")
        return ()
    found = {c for i, item in enumerate(values["match"]) if (c := _condition(place.field("match").item(i), item))}
    weight = sum(len(c.name) + len(_for_nginx(c).encode()) + 2 for c in found)
    if weight > MAX_RULE:
        place.report("RuleInvalid", f"the rule has {weight} bytes in all", f"Stay within {MAX_RULE}.")
    return tuple(sorted(found))


def field_holds(condition: Condition, text: bytes) -> bool:
    """Whether a request's field has what `condition` asks; `text` is empty when the field is missing."""
    value = condition.value.encode()
    match condition.match:
        case "exact":
            return text == value
        case "prefix" if condition.kind == "path":
            return text == value or text.startswith(value + b"/")
        case "prefix":
            return text.startswith(value)
        case "regex":
            return bool(text) and language.compile_regex(condition.value).search(text) is not None


def subject(condition: Condition) -> str:
    """The field a condition looks at: `path`, `header x-user`, `query parameter v`."""
    return f"query parameter {condition.name}" if condition.kind == "query" else f"{condition.kind} {condition.name}".rstrip()


def needs(condition: Condition) -> str:
    """What a condition asks of its field, as the end of a sentence."""
    match condition.match:
        case "exact":
            return shown(condition.value)
        case "prefix" if condition.kind == "path":
            return f"{shown(condition.value or '/')} or below"
        case "prefix":
            return f"something that starts with {shown(condition.value)}"
        case "regex":
            return f"a match of {shown(condition.value)}"


def in_words(conditions: Iterable[Condition]) -> str:
    """The conditions of a rule as half a sentence."""
    return " and ".join(f"{subject(c)} is {needs(c)}" for c in conditions) or "every request"


def _for_nginx(condition: Condition) -> str:
    return language.pcre(condition.value) if condition.match == "regex" else condition.value


def _condition(place: Place, written: object) -> Condition | None:
    if not is_a(place, written, dict):
        return None
    assert isinstance(written, dict)
    unknown(place, written, _SHAPES)
    keys = [key for key in _SHAPES if written.get(key) is not None]
    if len(keys) != 1:
        if keys or set(written) <= set(_SHAPES):
            cure = f"Write each as an item of its own, as in [{{{_SHAPES['matchPath'].example}}}, {{{_SHAPES['matchHeader'].example}}}]."
            place.report("RuleInvalid", f"an item of match holds {len(keys) or 'no'} conditions, not one", cure)
        return None
    place, shape, body = place.field(keys[0]), _SHAPES[keys[0]], written[keys[0]]
    known = {shape.text: str, **({"name": str} if shape.name else {}), **({"type": str} if shape.kind != "method" else {})}
    before = len(place.problems)
    values = fields(place, body, known)
    cure = f"An example: {shape.example}."
    if isinstance(body, dict):
        for name in sorted(known.keys() - {"type"}):
            if body.get(name) is None:
                place.report("RuleInvalid", f"{name} is missing", cure)
    match = _MATCHES.get(values.get("type", "exact"))
    if match is None:
        message = f"{shown(values['type'])} is not one of {', '.join(_MATCHES)}"
        place.field("type").report("RuleInvalid", message, "Write type: exact, or leave it out.")
    if shape.name and "name" in values and not (len(values["name"]) <= MAX_VALUE and shape.name[0].fullmatch(values["name"])):
        place.field("name").report("RuleInvalid", f"{shown(values['name'])} is not a {shape.kind} name: {shape.name[1]}", cure)
    if match and shape.text in values:
        _check_text(place.field(shape.text), shape, match, values[shape.text])
    if match is None or len(place.problems) > before:
        return None
    text, name = values[shape.text], values.get("name", "")
    if shape.kind == "path" and match == "prefix":
        text = text.rstrip("/")
    return Condition(shape.kind, match, text, name.lower().replace("_", "-") if shape.kind == "header" else name)


def _check_text(place: Place, shape: _Shape, match: Match, text: str) -> None:
    pattern, rule_in_words = shape.value
    cure = f"An example: {shape.example}."
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_VALUE:
        place.report("RuleInvalid", f"{shown(text)} has {size} bytes", f"Stay within {MAX_VALUE}.")
    elif match == "regex":
        if refusal := language.check(text):
            caret = refusal.caret.replace("\n", "\n    ")
            message = f"{refusal.reason}, at character {refusal.offset + 1}:\n    {caret}"
            place.report("RegexUnsupported", message, "Rewrite it without the part at the caret, or use type: prefix.")
    elif not pattern.fullmatch(text) or any("\ud800" <= c <= "\udfff" for c in text):
        place.report("RuleInvalid", f"{shown(text)} is not {rule_in_words}", cure)

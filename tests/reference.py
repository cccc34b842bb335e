r"""docs/rules.md once more, as naively as can be: the bytes of a request and the rules go in, who gets it comes out.

    winner(read(b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n"), [Bridge("alice-web", "2026-11-24T20:00:00Z", rules)])

The tests compare it with real nginx and with `bascule explain`, so it shares nothing with them but the Condition, whose regexes
are here as the user wrote them. It is slow and has no idea of maps, hashes or captures.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from typing import NamedTuple

from carrier2.dispatch import Condition

CLUSTER, REFUSED = "cluster", "refused"
DIGITS = b"0123456789"
ALPHANUMERIC = string.ascii_letters.encode() + DIGITS
HOST = ALPHANUMERIC + b"!$%&'()*+,-.;=_~"
ONCE = (
    *(b"authorization", b"content-length", b"content-range", b"expect", b"host", b"if-match", b"if-modified-since", b"if-none-match"),
    *(b"if-range", b"if-unmodified-since", b"proxy-authorization", b"transfer-encoding"),
)


class Bridge(NamedTuple):
    """A bridge by name, its creationTimestamp, and the conditions of each of its rules; none is one without conditions."""

    name: str
    created: str
    rules: tuple[tuple[Condition, ...], ...]


class Seen(NamedTuple):
    """A request as rules see it."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]


def winner(seen: Seen | None, bridges: Iterable[Bridge]) -> str:
    """The name of the bridge that gets the request, CLUSTER, or REFUSED when there is nothing to see."""
    if seen is None:
        return REFUSED
    if seen.headers.get(b"user-agent", b"").startswith((b"kube-probe/", b"kube-lifecycle/")):
        return CLUSTER
    matching = [
        (rank(rule), bridge.created, bridge.name, number)
        for bridge in bridges
        for number, rule in enumerate(bridge.rules or ((),))
        if all(holds(condition, seen) for condition in rule)
    ]
    return min(matching)[2] if matching else CLUSTER


def rank(rule: tuple[Condition, ...]) -> list[int]:
    """The steps 1 and 2 of "Who wins"; the smaller list is tried first."""

    def fields(kind: str) -> int:
        return len({c.name for c in rule if c.kind == kind})

    paths = [(c.match, len(c.value.encode()) or 1) for c in rule if c.kind == "path"]
    marks = fields("header") + fields("query") + fields("cookie")
    prefixes = [size for match, size in paths if match == "prefix"]
    exact, found = ([match for match, _ in paths].count(match) for match in ("exact", "regex"))
    return [-bool(marks), -bool(exact), -max(prefixes, default=0), -found, *(-fields(k) for k in ("method", "header", "query", "cookie"))]


def holds(condition: Condition, seen: Seen) -> bool:
    """Whether the request has what one condition asks."""
    text, value = field(condition, seen), condition.value.encode()
    if not text:
        return False
    if condition.match == "exact":
        return text == value
    if condition.match == "regex":
        return re.search(python(condition.value), text, re.DOTALL) is not None
    return below(text, value) if condition.kind == "path" else text[: len(value)] == value


def below(path: bytes, prefix: bytes) -> bool:
    """Whether `path` is `prefix` or an element below it."""
    return (path + b"/").startswith(prefix + b"/")


def field(condition: Condition, seen: Seen) -> bytes:
    """What the request has where the condition looks; empty when there is nothing."""
    name = condition.name.encode()
    if condition.kind == "path":
        return seen.path
    if condition.kind == "method":
        return seen.method
    if condition.kind == "header":
        return seen.headers.get(name, b"")
    pairs = seen.query.split(b"&")
    if condition.kind == "cookie":
        pairs = [pair.strip(b" \t") for pair in seen.headers.get(b"cookie", b"").split(b";")]
    return next((value for key, equals, value in (pair.partition(b"=") for pair in pairs) if equals and key == name), b"")


def python(pattern: str) -> bytes:
    r"""The regex for `re` on bytes: `$` is the very end, a character beyond ASCII is a group of its bytes, captures do not matter."""
    out, inside, at = [], False, 0
    while at < len(pattern):
        piece = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        at += len(piece)
        if not piece.isascii():
            piece = "(?:" + "".join(f"\\x{byte:02x}" for byte in piece.encode()) + ")"
        elif inside and piece in "&|~":
            piece = "\\" + piece
        elif not inside and piece == "$":
            piece = r"\Z"
        inside = piece != "]" if inside else piece == "["
        out.append(piece)
    return "".join(out).encode()


def read(raw: bytes) -> Seen | None:
    """A request in HTTP/1, or None where nginx answers it itself."""
    first, *lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3:
        return None
    split = (line.partition(b":") for line in lines)
    fields = [(name, value.strip(b" ")) for name, _, value in split]
    target = _origin_form(words[1])
    named = any(name.lower() == b"host" for name, _ in fields)
    return seen(words[0], target, fields) if target and (named or words[2] == b"HTTP/1.0") else None


def read_http2(fields: Iterable[tuple[bytes, bytes]]) -> Seen | None:
    """The same for the header list of a request in HTTP/2. `:authority` is the Host; blanks around a value belong to it."""
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    rest = [(name, value) for name, value in fields if not name.startswith(b":")]
    return seen(pseudo[b":method"], pseudo[b":path"], [(b"host", pseudo[b":authority"]), *rest])


def seen(method: bytes, target: bytes, fields: Iterable[tuple[bytes, bytes]]) -> Seen | None:
    """The request of these parts, or None. No Transfer-Encoding but chunked is spoken of here."""
    if method in (b"TRACE", b"CONNECT") or not method or set(method) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"):
        return None
    if any(byte <= 32 or byte == 127 for byte in target):
        return None
    headers, before = dict[bytes, bytes](), list[bytes]()
    for name, value in fields:
        if not name or any(byte <= 32 or byte == 127 for byte in name) or set(value) & set(b"\0\r\n"):
            return None
        plain = name.lower()
        if plain in ONCE and plain in before:
            return None
        before.append(plain)
        if (plain == b"host" and not _authority(value, HOST, HOST + b":")) or (plain == b"content-length" and value.strip(DIGITS)):
            return None
        key = plain.replace(b"_", b"-")
        joint = b"; " if key == b"cookie" else b", "
        if plain not in (b"user_agent", b"x_forwarded_for"):
            headers[key] = headers[key] + joint + value if key in headers else value
    raw, _, query = target.split(b"#")[0].partition(b"?")
    path = _path(raw)
    return None if path is None else Seen(method, path, query, headers)


def _origin_form(target: bytes) -> bytes:
    """The target without scheme and host, or nothing when it is wrong (RFC 9112, section 3.2)."""
    if target.startswith(b"/"):
        return target
    scheme, slashes, rest = target.partition(b"://")
    if not slashes or not scheme[:1].isalpha() or scheme.strip(ALPHANUMERIC + b"+-."):
        return b""
    size = next((at for at, byte in enumerate(rest) if byte in b"/?"), len(rest))
    authority, rest = rest[:size], rest[size:]
    return (rest if rest.startswith(b"/") else b"/" + rest) if _authority(authority, ALPHANUMERIC + b".-", HOST + b":") else b""


def _authority(text: bytes, letters: bytes, in_brackets: bytes) -> bool:
    """Whether nginx takes `text` as a host and perhaps a port, made of these characters."""
    if text.startswith(b"["):
        host, bracket, port = text[1:].partition(b"]")
        good = bool(bracket) and not host.strip(in_brackets.replace(b"%", b"")) and port[:1] in (b"", b":")
        port = port[1:]
    else:
        host, _, port = text.partition(b":")
        good = host not in (b"", b".") and not host.strip(letters)
    return good and b".." not in host and not port.strip(DIGITS) and int(port or b"0") < 65536


def _path(raw: bytes) -> bytes | None:
    """The decoded path, or None when it is malformed or leads above the root."""
    text, at = b"", 0
    while at < len(raw):
        if raw[at : at + 1] == b"%":
            digits = raw[at + 1 : at + 3]
            if len(digits) < 2 or digits.strip(b"0123456789abcdefABCDEF") or digits == b"00":
                return None
            text += bytes([int(digits, 16)])
            at += 3
        else:
            text += raw[at : at + 1]
            at += 1
    while b"//" in text:
        text = text.replace(b"//", b"/")
    if not text.startswith(b"/"):
        return None
    elements: list[bytes] = []
    for element in text[1:].split(b"/"):
        if element == b".." and not elements:
            return None
        if element == b"..":
            elements.pop()
        elif element != b".":
            elements.append(element)
    if text.endswith((b"/.", b"/..")):
        elements.append(b"")
    return b"/" + b"/".join(elements)

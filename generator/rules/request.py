"""A request as a user writes it down -> the fields that rules look at, exactly as nginx makes them.

Measured on nginx 1.26 to 1.31 (ngx_http_parse.c, ngx_http_request.c), with `merge_slashes`, `underscores_in_headers` and
`ignore_invalid_headers off`, as the carrier is configured:
- path: percent signs decoded once, then `//` is one slash, `.` and `..` are resolved; decoded `%2F` and `%2E` count
  as slash and dot; `#` ends the URL. Above the root, `%00` and `%zz` are answered with 400.
- headers: names fold case and `_` is `-`; spaces around a value are dropped, tabs are not; repeated ones are joined by `, ` (Cookie
  by `; `). NUL, CR and LF are answered with 400. Names that are not made of letters, digits, `-` and `_` cannot be matched, nor
  can `User_Agent` and `X_Forwarded_For`: nginx's variables of these two want the `-`.
- a second line of a header that nginx itself reads once, a Host that is none: 400.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Request:
    """method: in capitals. path: decoded, no query. args: the query as sent. headers: by lower-case name with `-`."""

    method: str
    path: bytes
    args: bytes
    headers: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that nginx answers itself, with 400 or 405; no rule and no application sees it."""

    reason: str


_METHOD: Final = re.compile("[A-Z_-]+")
_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://((?:[A-Za-z0-9.-]+|\[[^]/?#]*\])(?::[0-9]*)?)(?=[/?]|\Z)")
_HOST: Final = re.compile(rb"(?!.*\.\.)(?:(?!\.(?:\Z|:))[A-Za-z0-9!$%&'()*+,.;=_~-]+|\[[A-Za-z0-9!$&'()*+,.;=_~:-]*\])(?::([0-9]*))?")
_ONCE: Final = frozenset(
    (
        "authorization content-length content-range expect host if-match if-modified-since if-none-match if-range "
        "if-unmodified-since proxy-authorization transfer-encoding"
    ).split()
)
"""ngx_http_request.c, ngx_http_headers_in: those read by ngx_http_process_host and ngx_http_process_unique_header_line."""
_BLANK: Final = re.compile(rb"[\x00-\x20\x7f]")
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_NAME: Final = re.compile(r"[\x00-\x20\x7f:]|\A\Z")
_NAME: Final = re.compile("[A-Za-z0-9_-]+")
_HYPHENATED: Final = ("user_agent", "x_forwarded_for")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]")


def request(method: str, url: str, headers: Iterable[tuple[str, str]]) -> Request | Refused:
    """The request nginx sees for a URL with or without scheme and host. A host in the URL is the Host header if there is none."""
    if not _METHOD.fullmatch(method):
        return Refused(f"400: {method!r} is not a method; methods are in capitals")
    if method in ("TRACE", "CONNECT"):
        return Refused(f"405: nginx does not pass {method} on")
    try:
        target = url.encode(errors="surrogateescape")
        lines = [(name, value.encode(errors="surrogateescape").strip(b" ")) for name, value in headers]
    except UnicodeEncodeError:
        return Refused("400: half a character (a lone surrogate)")
    fields: dict[str, bytes] = {}
    if absolute := _ABSOLUTE.match(target):
        target = target[absolute.end() :]
        target = target if target.startswith(b"/") else b"/" + target
        if not any(name.lower() == "host" for name, _ in lines):
            lines.append(("host", absolute[1]))
        if not _is_host(absolute[1]):
            return Refused("400: the URL's host is none")
    if refused := _bad_line(lines):
        return refused
    for name, value in lines:
        if _NAME.fullmatch(name) and name.lower() not in _HYPHENATED:
            key = name.lower().replace("_", "-")
            fields[key] = (b"; " if key == "cookie" else b", ").join((fields[key], value)) if key in fields else value
    raw, args = _split(target)
    path = _decoded(raw) if raw.startswith(b"/") and not _BLANK.search(target) else "the URL does not start with / or holds a blank"
    return Refused(f"400: {path}") if isinstance(path, str) else Request(method, path, args, fields)


def _bad_line(lines: Iterable[tuple[str, bytes]]) -> Refused | None:
    """Why nginx answers a request with these header lines itself, or None."""
    once: dict[str, bytes] = {}
    for name, value in lines:
        if _BAD_NAME.search(name) or _BAD_VALUE.search(value):
            return Refused(f"400: header {name!r} has a control character or a blank where none may be")
        if name.lower() in once:
            return Refused(f"400: header {name!r} may be there only once")
        if name.lower() in _ONCE:
            once[name.lower()] = value
    if not _is_host(once.get("host", b"host")):
        return Refused("400: header 'Host' is no host")
    length, encoding = once.get("content-length", b"0"), once.get("transfer-encoding", b"chunked")
    if not length.isdigit() or {"content-length", "transfer-encoding"} <= once.keys():
        return Refused("400: header 'Content-Length' is no number, or stands beside Transfer-Encoding")
    return Refused("501: nginx knows no Transfer-Encoding but chunked") if encoding.lower() != b"chunked" else None


def _is_host(text: bytes) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int(found[1] or 0) < 65536


def _split(target: bytes) -> tuple[bytes, bytes]:
    path, _, args = target.partition(b"#")[0].partition(b"?")
    return path, args


def _decoded(raw: bytes) -> bytes | str:
    """The path as `$uri`, or why there is none."""
    if bad := _BAD_PERCENT.search(raw):
        return f"{raw[bad.start() : bad.start() + 3].decode(errors='replace')} in the path"
    segments = _PERCENT.sub(lambda found: bytes((int(found[1], 16),)), raw).split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not kept:
                return "the path leads above its root"
            kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    slash = b"/" if kept and segments[-1] in (b"", b".", b"..") else b""
    return b"/" + b"/".join(kept) + slash

"""Requests that nearly meet the rules of a port, as raw as nginx gets them, out of a seeded random number generator."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from carrier2.dispatch import Condition
from tests.fuzz_rules import Port


class Ask(NamedTuple):
    """A request; every part goes out as it stands."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    version: bytes = b"HTTP/1.1"
    body: bytes = b""

    def raw(self) -> bytes:
        """The bytes of HTTP/1."""
        lines = [b" ".join((self.method, self.target, self.version)), *(name + b":" + value for name, value in self.headers), b"", b""]
        return b"\r\n".join(lines) + self.body

    def http2(self) -> list[tuple[bytes, bytes]]:
        """The headers of HTTP/2 as a client makes them: names in lower case, no blanks around a value, nothing of the connection.

        The first Host is the authority (RFC 9113, sections 8.2 and 8.3.1).
        """
        host = next((value.strip(b" ") for name, value in self.headers if name.lower() == b"host"), b"shop.example")
        gone = (b"host", b"connection", b"upgrade", b"te", b"keep-alive", b"content-length")
        rest = [(name.lower(), value.strip(b" ")) for name, value in self.headers if name and name.lower() not in gone]
        path = self.target if self.target.startswith(b"/") else b"/" + self.target
        return [(b":method", self.method), (b":scheme", b"http"), (b":path", path), (b":authority", host), *rest]


def ask(rnd: Random, port: Port) -> Ask:
    """A request that meets the conditions of a rule or two, nearly."""
    method, path, end = b"GET", b"/", [b"", b"%0A", b"?", b"/"][max(0, rnd.randint(-30, 3))]
    headers, query, cookies = list[tuple[bytes, bytes]](), list[bytes](), list[bytes]()
    for each in (c for found in rnd.sample(port.rules, min(len(port.rules), rnd.choice((1, 1, 1, 2)))) for c in found):
        wanted = _meeting(rnd, each, port.samples)
        if rnd.random() < 0.06:
            continue
        if each.kind == "path":
            path = wanted
        elif each.kind == "method":
            method = wanted
        elif each.kind == "header":
            blank = rnd.choice((b" ",) * 9 + (b"", b"  ", b"\t", b" \t"))
            lines = wanted.split(b", ") if rnd.random() < 0.5 else [wanted]
            headers += [(_cased(rnd, each.name), blank + line + rnd.choice((b"",) * 9 + (b" ", b"\t"))) for line in lines]
        else:
            pair = each.name.encode() + b"=" + wanted
            (query if each.kind == "query" else cookies).append(pair)
    for pairs in (query, cookies):
        _noise(rnd, pairs)
    headers += _cookie_lines(rnd, cookies)
    if rnd.random() < 0.1:
        headers += [_odd_header(rnd, headers)]
    headers.sort(key=lambda _: rnd.random() if rnd.random() < 0.2 else 0)
    if not any(name.lower() == b"host" for name, _ in headers) or rnd.random() < 0.01:
        headers.insert(0, (b"Host", b" shop.example"))
    body = b"x" * rnd.choice((1, 5000)) if rnd.random() < 0.02 else b""
    if body:
        headers.append((b"Content-Length", b" %d" % len(body)))
    fragment = rnd.choice((b"#", b"#f?q=1", b"?#")) if rnd.random() < 0.02 else b""
    target = _spelled(rnd, path) + end + (b"?" + b"&".join(query) if query or rnd.random() < 0.05 else b"") + fragment
    if rnd.random() < 0.03:
        target = (
            rnd.choice((b"http://shop.example", b"HTTPS://a:80", b"x+y.1-z://[::1]:", b"http://.a", b"http://a..b", b"://a", b"http://a%"))
            + target
        )
    version = b"HTTP/1.0" if rnd.random() < 0.03 else b"HTTP/1.1"
    return Ask(method.strip(b" "), target.strip(b" "), tuple(headers), version, body)


def _meeting(rnd: Random, each: Condition, samples: dict[str, bytes]) -> bytes:
    """A text that meets the condition, but for a change in one of five."""
    found = each.value.encode()
    if each.match == "regex":
        found = samples[each.value]
        found = rnd.choice((b"", b"", b"a", b"/", b"alice ")) + found + rnd.choice((b"", b"", b"z", b"\xff"))
        if each.kind == "path":
            found = b"/" + found.lstrip(b"/")
    elif each.match == "prefix":
        tails = (b"", b"/", b"/x", b"/a/b", b"v2") if each.kind == "path" else (b"", b"x", b"\xff", b" a", b"a" * 4096)
        found = (found or b"/" * (each.kind == "path")) + rnd.choice(tails)
    if rnd.random() < 0.8 or not found:
        return found
    at = rnd.randrange(len(found))
    odd = bytes([rnd.choice((*range(33, 127), 9, 32, 128, 255, 0xC3, rnd.randint(1, 31)))]).replace(b"\n", b"").replace(b"\r", b"\0")
    return rnd.choice((found.swapcase(), found[:-1], found + odd, found[:at] + odd + found[at:], found[:at] + odd + found[at + 1 :], b""))


def _cased(rnd: Random, name: str) -> bytes:
    """A spelling of a header's name."""
    how = rnd.random()
    spelled = name if how < 0.5 else name.upper() if how < 0.8 else name.title()
    return (spelled.replace("-", "_") if rnd.random() < 0.1 else spelled).encode()


def _noise(rnd: Random, pairs: list[bytes]) -> None:
    """Other parameters between, empty ones, repeated ones."""
    for _ in range(rnd.choice((0, 0, 0, 1, 2))):
        other = rnd.choice((b"z=1", b"", b"q", b"q=", b"=q", b"q=1=2", b"%71=1", b'q="alice"', b"Q=$host", b"a;q=1", b"\xff=\xfe", *pairs))
        pairs.insert(rnd.randint(0, len(pairs)), other)


def _cookie_lines(rnd: Random, cookies: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    if not cookies:
        return []
    cut = rnd.randint(1, len(cookies))
    joint = rnd.choice((b"; ", b"; ", b"; ", b";", b" ;\t", b",", b" ; "))
    return [(_cased(rnd, "cookie"), b" " + joint.join(part)) for part in (cookies[:cut], cookies[cut:]) if part]


def _odd_header(rnd: Random, headers: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """A second line of a name, an empty value, a name that cannot be, a probe."""
    names = [*(name for name, _ in headers), b"X-User"]
    values = (b" alice", b"", b" ", b" " + b"y" * 4000, b" \xff\x80", b" a\0b", b" a\rb", b" \t", b"\ta")
    names_only = (b"X.User", b"X User", b"X-\xc3\xa9", b"", b"X\tUser", b"x-user ", b"$host", b'X"')
    agent = rnd.choice((b"User-Agent", b"User-Agent", b"user_agent")), b" kube-probe/1.36"
    return rnd.choice(
        ((rnd.choice(names), rnd.choice(values)), (rnd.choice(names), rnd.choice(values)), (rnd.choice(names_only), b" alice"), agent)
    )


def _spelled(rnd: Random, path: bytes) -> bytes:
    """The path as a client may write it."""
    rate, digits = rnd.choice((0, 0, 0, 0, 0.1, 0.7)), rnd.choice(("%%%02x", "%%%02X"))
    out = b""
    for at, byte in enumerate(path):
        must = byte <= 32 or byte in b"%?#\x7f"
        letter = (digits % byte).encode() if (must and rnd.random() < 0.98) or (at and rnd.random() < rate) else bytes([byte])
        if letter == b"/" and rnd.random() < 0.04:
            letter = rnd.choice((b"//", b"/./", b"/x/../", b"/%2e/", b"/x/%2E./", b"/.%2f", b"///"))
        out += letter
    if rnd.random() < 0.03:
        out += rnd.choice((b"%zz", b"%00", b"/..", b"/../..", b"/%2e%2e/%2e%2e/..", b"%2", b"%", b" a", b"\x7f", b"/.", b"/..."))
    return out

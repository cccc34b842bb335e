"""The fields of a request that rules look at: which words nginx can see in each, and words -> a request that has them.

What can be seen is stated as automata, and is the counterpart of `request.py`, which says how a request's bytes become fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from carrier2.dispatch import Kind
from generator.rules.automaton import ALL, Automaton, among, avoiding, of_regex
from generator.rules.conditions import KUBELET
from generator.rules.language import parse

Field = tuple[Kind, str]
"""kind and name of a condition; a name only where there are several fields of the kind."""

PATH: Final[Field] = ("path", "")

_COOKIES: Final[Field] = ("header", "cookie")
_FRAMING: Final[frozenset[Field]] = frozenset({("header", "content-length"), ("header", "transfer-encoding")})
"""They say where the body ends, so nginx takes only some values, and only together with that body."""


class Witness(NamedTuple):
    """A request as `request.request` and `bascule explain` take it."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """The arguments of `bascule explain`, or of `curl -X`, for a shell."""
        return " ".join(_shell(word) for word in (self.method, self.url, *(w for h in self.headers for w in ("-H", ": ".join(h)))))


def visible(field: Field) -> tuple[Automaton, ...]:
    """Together, the words that nginx can see in a field and a rule can match; never the empty one."""
    kind, _ = field
    if field == ("header", "user-agent"):
        return _VISIBLE[kind], *(avoiding(agent.encode(), "prefix") for agent in KUBELET)
    if kind == "method":
        return _VISIBLE[kind], avoiding(b"TRACE"), avoiding(b"CONNECT")
    return (_HOST if field == ("header", "host") else _VISIBLE[kind],)


def seen_there(field: Field) -> str:
    """What `visible` lets through, as the end of a sentence."""
    kind, name = field
    if field == ("header", "user-agent"):
        return "kubelet's probes and hooks (kube-probe/..., kube-lifecycle/...) never go to a bridge"
    return {
        "path": "a path begins with / and holds no //, /./, /../ or NUL once nginx has decoded it",
        "method": "a method is made of capitals, - and _, and nginx answers TRACE and CONNECT itself, with 405",
        "header": "a host name has no .., blank or delimiter"
        if name == "host"
        else "a value holds no NUL, CR, LF and no blank at its ends",
        "query": "a value holds no blank, &, # or control character, and is compared as it is sent",
        "cookie": "a value holds no ; and no blank at its end",
    }[kind]


def entangled(fields: AbstractSet[Field]) -> bool:
    """Whether some of these fields depend on more than their own words: a cookie and the line it stands in, a body's length."""
    return not fields.isdisjoint(_FRAMING) or (_COOKIES in fields and any(field[0] == "cookie" for field in fields))


def request_with(words: Mapping[Field, bytes]) -> Witness:
    """A request with these words in its fields."""
    args = b"&".join(name.encode() + b"=" + word for (kind, name), word in words.items() if kind == "query")
    url = quote_from_bytes(words.get(PATH, b"/"), safe="/!$&'()*+,:;=@~") + ("?" + _text(args) if args else "")
    headers = [(name, _text(word)) for (kind, name), word in words.items() if kind == "header"]
    if cookies := [f"{name}={_text(word)}" for (kind, name), word in words.items() if kind == "cookie"]:
        headers.append(("cookie", "; ".join(cookies)))
    return Witness(words.get(("method", ""), b"GET").decode(), url, tuple(headers))


def _text(word: bytes) -> str:
    return word.decode(errors="surrogateescape")


def _shell(word: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII):
        return word
    if word.isprintable():
        return "'" + word.replace("'", "'\\''") + "'"
    escaped = "".join(chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in word.encode(errors="surrogateescape"))
    return f"$'{escaped}'"


def _set(characters: bytes) -> int:
    return among(frozenset(characters))


_SLASH, _DOT, _BLANK = _set(b"/"), _set(b"."), _set(b" ")
_IN_PATH: Final = ALL & ~_set(b"\x00/")
_IN_QUERY: Final = ALL & ~_set(bytes(range(0x21)) + b"&#\x7f")
_IN_HEADER: Final = ALL & ~_set(b"\x00\r\n") & ~_BLANK
_IN_COOKIE: Final = _IN_HEADER & ~_set(b";\t")
_AROUND: Final = _set(b" \t")

_VISIBLE: Final[dict[Kind, Automaton]] = {
    "path": Automaton(
        (
            ((_SLASH, 1),),
            ((_DOT, 2), (_IN_PATH & ~_DOT, 4)),  # 1: behind a slash
            ((_DOT, 3), (_IN_PATH & ~_DOT, 4)),  # 2, 3: one dot, two dots are all of the segment so far
            ((_IN_PATH, 4),),
            ((_SLASH, 1), (_IN_PATH, 4)),
        ),
        0b10010,
    ),
    "method": of_regex(parse("^[A-Z_-]+$")),
    "header": Automaton((((_IN_HEADER, 1),), *(((_IN_HEADER, 1), (_BLANK, 2)),) * 2), 0b010),
    "query": Automaton((((_IN_QUERY, 1),), ((_IN_QUERY, 1),)), 0b10),
    "cookie": Automaton((((_IN_COOKIE, 1), (_AROUND, 2)),) * 3, 0b010),
}

_NAME: Final = r"\.?[!$%&'()*+,;=_~0-9A-Za-z-]+(?:\.[!$%&'()*+,;=_~0-9A-Za-z-]+)*\.?"
_PORT: Final = ":(?:[0-9]{0,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST: Final = of_regex(parse(rf"^(?:{_NAME}|\[[0-9A-Fa-f:.]+\])(?:{_PORT})?$"))
"""Measured on nginx 1.31 (ngx_http_validate_host); older ones take more characters."""

"""Hostile rules of bridges, out of a seeded random number generator."""

from __future__ import annotations

import re
from random import Random
from typing import Any, NamedTuple

from carrier2.dispatch import Condition
from generator.rules.conditions import rule
from generator.text.walk import Place

Obj = dict[str, Any]


class Bridge(NamedTuple):
    """A bridge as its user writes it. connected: the address of the user's process is known."""

    name: str
    created: str
    rules: tuple[Obj, ...]
    connected: bool = True


class Port(NamedTuple):
    """The bridges of a port, the conditions of their rules, and for each regex a text that it finds."""

    bridges: tuple[Bridge, ...]
    rules: tuple[tuple[Condition, ...], ...]
    samples: dict[str, bytes]


HEADERS = (
    *("x-user X-Team x_tier x-a -x _x x--b 0 accept referer user-agent User_Agent host cookie via x-forwarded-for").split(),
    *("X_Forwarded_For content-type authorization range if-match if-none-match connection upgrade te expect x-accel-redirect").split(),
)
NAMES = ("q", "Q", "a.b", "x$", "$host", "%71", "_", "[]", "0", "~q", "(?<c2_grpc>a)", "a|b", "default", "*", "\\Q")
TEXTS = (
    *r"""alice Alice ALICE bob a ab b abc 1 default include hostnames volatile ~abc ~*abc ~( \abc \\abc \t \" a\ \ a$b $host ${host}
    ${c2_dollar} $1 $ a"b " a'b ' a;b a{b { } #b # = a=b a,b %41 %2f ( ) [ ] | ? + * . ^ ^a [a] 0:bridge_10.9.0.1_3000 cluster mirror_x
    é É 日本 *.example.com www.example.* shop.example kube-prob text/plain application/grpc close 100-continue W/"x" bytes=0-1""".split(),
    *("a b", "; }", "x} server { listen 1; }", "a, b", '"} include /etc/passwd; #', "\u00a0a", "a\u2028b"),
)
PATHS = (
    "/",
    "/a",
    "/a/",
    "/api",
    "/api/v1",
    "/API",
    "/a$b",
    "/é",
    "/a b",
    '/"',
    "/~x",
    "/default",
    "/a;b",
    "/a{b",
    "/a\\",
    "/.a",
    "/a..",
    "/%2f",
)
METHODS = ("GET", "POST", "PUT", "HEAD", "FOO", "M-SEARCH", "G_T", "OPTIONS")
USERS = tuple(f"{user}-{n}" for user in ("alice", "bob", "john", "anna") for n in range(3))
BORN = tuple(f"2026-11-24T20:00:0{n}Z" for n in range(3))


def conditions(written: Obj) -> tuple[Condition, ...] | None:
    """The rule as bascule reads it, or None when it is refused."""
    problems: list[Any] = []
    found = rule(Place("fuzz", problems), written)
    return None if problems else found


def port(rnd: Random) -> Port:
    """A port with one to twelve bridges of up to four rules; few different conditions, so that bridges meet."""
    samples: dict[str, bytes] = {}
    pool = [condition(rnd, samples) for _ in range(rnd.randint(2, 12))]
    bridges = []
    for name in rnd.sample(USERS, rnd.choice((1, 1, 2, 2, 3, 4, 5, 6, 8, 12))):
        written = [{"match": rnd.sample(pool, min(len(pool), rnd.choice((1, 1, 2, 2, 3, 4))))} for _ in range(rnd.randint(1, 4))]
        taken = tuple(each for each in written if conditions(each))
        if taken or rnd.random() < 0.3:
            bridges.append(Bridge(name, rnd.choice(BORN), taken, rnd.random() < 0.9))
    if not bridges:
        return port(rnd)
    known = tuple(conditions(written) or () for each in bridges for written in each.rules)
    return Port(tuple(bridges), known or ((),), samples)


def condition(rnd: Random, samples: dict[str, bytes]) -> Obj:
    """One item of `match` that bascule takes."""
    while True:
        kind = rnd.choice(("path", "path", "header", "header", "header", "method", "query", "cookie"))
        if kind == "method":
            made: Obj = {"matchMethod": {"method": rnd.choice(METHODS)}}
        else:
            match = rnd.choice(("exact", "prefix", "regex"))
            if match == "regex":
                pattern, sample = regex(rnd)
                samples[pattern] = sample.replace(b"\n", b"")
            value = pattern if match == "regex" else rnd.choice(PATHS) if kind == "path" else text(rnd)
            name = {"header": HEADERS, "query": NAMES, "cookie": NAMES}.get(kind)
            inner = {"path": value} if name is None else {"name": rnd.choice(name), "value": value}
            made = {f"match{kind.capitalize()}": {**inner, "type": match}}
        if conditions({"match": [made]}):
            return made


def text(rnd: Random) -> str:
    """A value: what two lines of a header give, a known trap, a few random characters, or as long as may be."""
    how = rnd.random()
    if how < 0.1:
        return rnd.choice(("a, b", "alice, bob", ", a", "a,b, c"))
    if how < 0.7:
        return rnd.choice(TEXTS)
    if how < 0.95:
        return "".join(
            chr(rnd.choice((rnd.randint(33, 126), rnd.randint(33, 126), rnd.randint(160, 0xD7FF)))) for _ in range(rnd.randint(1, 8))
        )
    return (rnd.choice(TEXTS) * 1024)[: rnd.choice((255, 340, 1000, 1024))].strip(" ")


def regex(rnd: Random, depth: int = 2) -> tuple[str, bytes]:
    """A regex and a text that it finds, as good as always."""
    pieces = [_piece(rnd, depth) for _ in range(rnd.randint(1, 4))]
    pattern, sample = "".join(p for p, _ in pieces), b"".join(s for _, s in pieces)
    if depth < 2:
        return pattern, sample
    return rnd.choice(("", "", "^", "^/")) + pattern + rnd.choice(("", "", "$")), sample


def _piece(rnd: Random, depth: int) -> tuple[str, bytes]:
    if depth and rnd.random() < 0.2:
        branches = [regex(rnd, depth - 1) for _ in range(rnd.randint(1, 3))]
        pattern, sample = rnd.choice(("(", "(?:")) + "|".join(p for p, _ in branches) + ")", rnd.choice(branches)[1]
    elif rnd.random() < 0.4:
        classes = {
            "[a-c_]": b"b",
            "[^a/]": b"x",
            "[$^]": b"$",
            r"[^\\\]]": b"[",
            "[&|~-]": b"&",
            r"[\d.]": b"7",
            '["#;{}]': b"}",
            ".": b"\xff",
        }
        classes |= {
            r"\d": b"0",
            r"\w": b"_",
            r"\s": b"\t",
            r"\D": b"\xe9",
            r"\W": b"\x80",
            r"\S": b"$",
            "[^[:]".replace("[:", "\\[:"): b"\n",
        }
        pattern = rnd.choice(sorted(classes))
        sample = classes[pattern]
    else:
        letter = rnd.choice("abcAB01é日-_=;,\"'/ #~@%&<>!`:$.^|?*+()[]{}\\")
        pattern, sample = re.escape(letter) if letter.isascii() else letter, letter.encode()
        pattern = "\\" + letter if letter in "\"'#;%~" and rnd.random() < 0.5 else pattern
    count, times = rnd.choice(
        (*((("", 1),) * 8), ("*", 0), ("*", 2), ("+", 1), ("?", 0), ("{2}", 2), ("{1,3}", 3), ("{0,2}", 1), ("+?", 2), ("*?", 3))
    )
    if count and not pattern.endswith(")") and not pattern.isascii():
        pattern = f"(?:{pattern})"
    return pattern + count, sample * times

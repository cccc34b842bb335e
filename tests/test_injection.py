"""No value changes the structure of a configuration: not in a routing model, not in a rule, not in a name, whatever its bytes are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import crossplane
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from carrier2.contract import MAX_TOKEN
from carrier2.directive import Unquotable
from carrier2.dispatch import Address, Condition, Destination, Dispatch, Kind, Listener, Match, Route
from carrier2.nginx import render
from tests.nginx_lab import syntaxes
from tests.nginx_reader import Misread, Read, read, variables, walk

ATTACKS = [
    *("a\\", " x; } server { listen 127.0.0.1:12002; return 200 PWNED; } map $http_y $r2 { #", "#b", "\\", '\\"', "\\t", "\\n", "\v"),
    *("\u00a0", "", "~(", "~*", "~", "include", "include /etc/passwd", "default", "volatile", "hostnames", "a\nb", "a\r", "\t", "\0"),
    *("${", "${c2_dollar}", "$c2_grpc", "$host", "$1", "$", "$$", "{", "}", ";", "'", '"', '";', '" ; } }', "'; }", "\\'", "\\\\", "b1="),
    *("a=b", "cluster", "mirror_x", "@held", "@mirror", "0:b1", "\ud800", "\x85", "\u2028", "x" * (MAX_TOKEN - 3), "$" * 400, "\\" * 2000),
    *("é" * 2047, "*.a", "a.*", ".a", "(?<c2_grpc>a)", "(*UTF)", "\\Q", "\\E", "[", "[]", "(?#", "a|b", "%{x}", "`id`", "$(id)", "../../x"),
]
PRINTABLE = [text for text in ATTACKS if text.isprintable() and len(text) < 99]
TEXTS = st.one_of(
    st.sampled_from(ATTACKS),
    st.sampled_from(PRINTABLE),
    st.lists(st.sampled_from(PRINTABLE), max_size=3).map("".join),
    st.text(max_size=12),
)
MANY = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

KNOWN = {
    *("uri args request_method hostname server_protocol ssl_server_name server_addr server_port").split(),
    *("request_uri upstream_bytes_sent").split(),
    *("http_cookie http_host http_upgrade http_user_agent http_content_type http_content_length").split(),
    *("http_transfer_encoding http_connection http_te").split(),
}
"""nginx's variables that the text may name, beside those it defines and the headers that routes look at."""

DIRECTIVES = frozenset(
    """access_log client_body_buffer_size client_body_temp_path client_body_timeout client_header_timeout client_max_body_size
    default early_hints error_log error_page events fastcgi_temp_path geo grpc_buffer_size grpc_connect_timeout grpc_ignore_headers
    grpc_next_upstream grpc_pass grpc_pass_header grpc_read_timeout grpc_send_timeout grpc_set_header grpc_ssl_name
    grpc_ssl_server_name http http2 if ignore_invalid_headers internal keepalive keepalive_min_timeout keepalive_requests keepalive_time
    keepalive_timeout large_client_header_buffers listen location map map_hash_bucket_size map_hash_max_size max_headers mirror pid
    proxy_buffer_size proxy_buffering proxy_buffers proxy_connect_timeout proxy_half_close proxy_http_version proxy_ignore_headers
    proxy_max_temp_file_size proxy_next_upstream proxy_pass proxy_pass_header proxy_pass_trailers proxy_read_timeout proxy_redirect
    proxy_request_buffering proxy_send_timeout proxy_set_header proxy_ssl_name proxy_ssl_server_name proxy_temp_path proxy_timeout
    recursive_error_pages return scgi_temp_path send_timeout server server_tokens ssl_certificate ssl_certificate_key sticky stream
    upstream user uwsgi_temp_path variables_hash_bucket_size variables_hash_max_size worker_connections worker_processes
    worker_rlimit_nofile
    worker_shutdown_timeout""".split()
)


# ---- routing models


def conditions(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Condition]:
    """Any condition; a regex is one that PCRE takes, or an attack."""
    kind: st.SearchStrategy[Kind] = st.sampled_from(["path", "method", "header", "query", "cookie"])
    match: st.SearchStrategy[Match] = st.sampled_from(["exact", "exact", "prefix", "regex"])
    name = st.sampled_from(["x-user", "x-team"]) | texts.filter(lambda text: len(text) < 20)
    return st.builds(Condition, kind, match, texts, name).map(_plausible)


def _plausible(condition: Condition) -> Condition:
    kind, match, text, name = condition.kind, condition.match, condition.value, condition.name
    match = "exact" if kind == "method" else match
    name = re.sub("[^a-z0-9-]", "", name) or "x" if kind == "header" and len(name) % 5 else name
    return Condition(kind, match, text, "" if kind in ("path", "method") else name)


@st.composite
def dispatches(draw: st.DrawFn) -> Dispatch:
    """A port with routes, and one without; any text may stand anywhere."""
    rarely = st.integers(0, 9).flatmap(lambda n: TEXTS if n == 9 else st.sampled_from(["b1", "alice-web", "a.b", "default"]))
    names = draw(st.lists(rarely, min_size=1, max_size=3, unique=True))
    some = draw(st.lists(conditions(TEXTS), min_size=1, max_size=4))
    routes = [
        Route(draw(st.sampled_from(names)), tuple(draw(st.lists(st.sampled_from(some), max_size=3))))
        for _ in range(draw(st.integers(1, 5)))
    ]
    mode = st.sampled_from(["intercept", "mirror"])
    to = [Destination(n, Address("10.9.0.1", 3000 + at), draw(mode)) for at, n in enumerate(names) if draw(st.integers(0, 4))]  # type: ignore[arg-type]
    tls, sni = draw(st.booleans()), draw(st.sampled_from(["", "a.b", "${x}", 'a"; }']) | rarely)
    host = draw(rarely)
    return Dispatch((Listener(8080, "TCP", tuple(routes), tuple(to), tls, sni), Listener(53, "UDP")), "10.0.0.1", {host: ("10.1.0.1",)})


def tame(subject: Dispatch) -> Dispatch:
    """The same with harmless letters in place of every text: what was equal, of equal length or equal but for case still is."""

    def routes(listener: Listener) -> tuple[Route, ...]:
        return tuple(Route(_letters(r.bridge), tuple(map(condition, r.conditions))) for r in listener.routes)

    def condition(c: Condition) -> Condition:
        return Condition(c.kind, c.match, _letters(c.value), c.name if c.kind == "header" else _letters(c.name))

    listeners = [
        Listener(
            each.port,
            each.protocol,
            routes(each),
            tuple(Destination(_letters(d.bridge), d.address, d.mode, d.fallback) for d in each.destinations),
            each.tls,
            _letters(each.sni),
        )
        for each in subject.listeners
    ]
    return Dispatch(tuple(listeners), subject.service, {_letters(h).lower(): ips for h, ips in subject.shadows.items()})


def _letters(text: str) -> str:
    """Two letters for each byte, in capitals for a capital."""
    pairs = ((byte, chr(97 + (low := byte | 32 if 65 <= byte <= 90 else byte) // 16) + chr(97 + low % 16)) for byte in text.encode())
    return "".join(pair.upper() if 65 <= byte <= 90 else pair for byte, pair in pairs)


def shape(directives: Iterable[Read]) -> Any:
    """Names, nesting and number of arguments; the order aside, which goes by values. The key of a map is no name."""
    return sorted(
        (
            each.name,
            len(each.args),
            sorted(len(e.args) for e in each.block or ()) if each.name in (b"map", b"geo") else shape(each.block or ()),
        )
        for each in directives
    )


def entries(tree: Iterable[Read]) -> list[tuple[bytes, bytes]]:
    """Key and value of every entry of every map."""
    return [(each.name, each.args[0]) for above, each in walk(tree) if above[-1:] == (b"map",)]


def _check_values(subject: Dispatch, tree: tuple[Read, ...]) -> None:
    """Every value stands where it belongs, verbatim."""
    pairs = entries(tree)
    keys = [key for key, _ in pairs]
    columns = {column for key in keys if key.startswith(b"\\") for column in key[1:].lower().split(b"\t")}
    spelled = {
        column for _, text in pairs for line in text.replace(b"${c2_dollar}", b"$").split(b"\n") for column in (line, *line.split(b"\t"))
    }
    spelled |= {column.partition(b"=")[2] for column in spelled if b"=" in column}
    for listener in subject.listeners:
        for condition in (c for route in listener.routes for c in route.conditions):
            text = condition.value.encode()
            if condition.match == "regex":
                if not set(text) & set(rb"$[\(#"):
                    assert b"~(?s)" + text in keys
            elif (condition.kind, condition.match, text) != ("path", "prefix", b""):
                assert text.lower() in columns
                assert text in spelled, (text, spelled)
        if listener.tls and listener.routes and listener.sni:
            given = [each.args[0] for _, each in walk(tree) if each.name in (b"proxy_ssl_name", b"grpc_ssl_name")]
            assert {name.replace(b"${c2_dollar}", b"$") for name in given} == {listener.sni.encode()}
    for host in subject.shadows:
        assert b"\\" + host.encode() in keys


def _check_variables(subject: Dispatch, tree: tuple[Read, ...]) -> None:
    """Nothing is replaced but variables of nginx's, of ours, and of the headers that routes look at."""
    ours = {each.args[-1][1:] for _, each in walk(tree) if each.name in (b"map", b"geo") and each.block is not None}
    headers = {
        f"http_{c.name.replace('-', '_')}".encode()
        for each in subject.listeners
        for r in each.routes
        for c in r.conditions
        if c.kind == "header"
    }
    known = ours | headers | {name.encode() for name in KNOWN}
    for above, each in walk(tree):
        if above[-1:] == (b"geo",):
            assert (each.name, each.args) == (b"default", (b"$",))
            continue
        captures = {b"1"} if each.name.startswith(b"~") else set()
        used = {name for argument in each.args for name in variables(argument)}
        assert used <= known | captures, (each, used - known)


@MANY
@given(dispatches())
@example(Dispatch((Listener(8080, "TCP", (Route("b1", (Condition("header", "exact", "a\\", "x"),)),)),), "10.0.0.1"))
@example(
    Dispatch(
        (Listener(8080, "TCP", (Route("b1", (Condition("header", "regex", "", "x"), Condition("path", "exact", "/a"))),)),), "10.0.0.1"
    )
)
def test_a_routing_model_is_refused_or_has_the_structure_of_a_harmless_one(subject: Dispatch) -> None:
    """The same directives, nesting and counts; every value verbatim; nothing replaced that is not ours."""
    try:
        text = render(subject)
    except Unquotable:
        return
    tree = read(text.encode())
    _check_values(subject, tree)
    _check_variables(subject, tree)
    harmless = _rendered(tame(subject))
    if "nginx reads at most" not in harmless:
        assert shape(tree) == shape(read(harmless.encode()))


def _rendered(subject: Dispatch) -> str:
    """The text, or why there is none."""
    try:
        return render(subject)
    except Unquotable as error:
        return str(error)


@pytest.mark.parametrize("kind", ["path", "method", "header", "query", "cookie"])
@pytest.mark.parametrize("match", ["exact", "prefix"])
def test_each_known_attack_alone(kind: Kind, match: Match, tmp_path: Path) -> None:
    """All attacks as value and name, each refused or harmless, for crossplane and real nginx too."""
    routes = []
    for text in ATTACKS:
        name = text if kind in ("query", "cookie") else "x-user" if kind == "header" else ""
        condition = Condition(kind, "exact" if kind == "method" else match, text, name)
        route = Route("b1", (condition, Condition("header", "exact", text, "x-b")))
        try:
            alone = render(_one_port(route))
        except Unquotable:
            continue
        routes.append(route)
        assert {each.name.decode() for above, each in walk(read(alone.encode())) if b"map" not in above} <= DIRECTIVES
        assert _by_crossplane(alone, tmp_path) <= DIRECTIVES
    assert len(routes) > len(ATTACKS) // 2
    ((ok, said),) = syntaxes([render(_one_port(*routes))])
    assert ok, said


def _one_port(*routes: Route) -> Dispatch:
    return Dispatch((Listener(8080, "TCP", routes),), "10.0.0.1")


def _by_crossplane(conf: str, folder: Path) -> set[str]:
    """The names of all directives but those in maps."""
    file = folder / "nginx.conf"
    file.write_text(conf, encoding="utf-8")
    found = crossplane.parse(str(file), single=True, check_ctx=False, check_args=False)
    assert found["status"] == "ok", found

    def names(directives: list[Any]) -> set[str]:
        inner = (names(d.get("block", [])) for d in directives if d["directive"] not in ("map", "geo"))
        return {d["directive"] for d in directives}.union(*inner)

    return names(found["config"][0]["parsed"])


@settings(max_examples=3)
@given(st.lists(dispatches(), min_size=12, max_size=12))
def test_nginx_takes_what_is_rendered(subjects: list[Dispatch]) -> None:
    """Not one complaint about structure; what PCRE thinks of a regex that no rule may hold is another matter."""
    confs = []
    for subject in subjects:
        plain = tuple(
            Listener(
                each.port,
                each.protocol,
                tuple(Route(r.bridge, tuple(c for c in r.conditions if c.match != "regex")) for r in each.routes),
                each.destinations,
            )
            for each in subject.listeners
        )
        try:
            confs.append(render(Dispatch(plain, subject.service, subject.shadows)))
        except Unquotable:
            continue
    for conf, (ok, said) in zip(confs, syntaxes(confs), strict=True):
        assert ok, (said, conf)


# ---- the reader itself


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a b;", [Read(b"a", (b"b",))]),
        ("a{b c;}", [Read(b"a", (), (Read(b"b", (b"c",)),))]),
        (r"""a "b\"\\\t\x" 'c\'' d\;e;""", [Read(b"a", (b'b"\\\t\\x', b"c'", b"d\\;e"))]),
        ("a # b;\n c;", [Read(b"a", (b"c",))]),
        ("a b#c;", [Read(b"a", (b"b#c",))]),
        ("a ${b}c $d;", [Read(b"a", (b"${b}c", b"$d"))]),
        ('a "";', [Read(b"a", (b"",))]),
        ("a b\vc;", [Read(b"a", (b"b\vc",))]),
        ('if ("a") {}', [Read(b"if", (b'("a")',), ())]),
        ("a }b;", None),
        ('a "b"c;', None),
        ("a {", None),
        ("; a;", None),
        ('a "b;', None),
        (f"a {'x' * 4096};", None),
    ],
)
def test_the_reader_reads_as_nginx_does(text: str, tree: list[Read] | None) -> None:
    """Quotes, escapes, comments, `${`, and where nginx stops."""
    if tree is None:
        with pytest.raises(Misread):
            read(text.encode())
    else:
        assert list(read(text.encode())) == tree


def test_the_reader_sees_an_injection() -> None:
    """The attack that once opened a server: two keys, badly quoted."""
    first, second = "a\\", " x; } server { listen 127.0.0.1:12002; return 200 PWNED; } map $http_y $r2 { #"
    tree = read(f"map $http_x $r {{ '{first}' 1; '{second}' 2;\n}}".encode())
    assert [each.name for each in tree] == [b"map", b"server", b"map"]

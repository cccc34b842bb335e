r"""A line of JSON on the container's standard output for each request of a bridge that asks for it; no others, ever.

    {"time": "2026-11-24T20:00:00.123+00:00", "bridge": "alices-bridge", "mode": "intercept", "method": "GET",
     "path": "/api", "status": "200", "upstream": "10.9.0.7:3000 : 10.96.0.9:8080", "upstream_status": "502 : 200",
     "seconds": 0.004, "bytes": 12}

path: decoded, as rules see it, without the query, which may hold secrets. One that is no UTF-8 is shown as it was sent, or
not at all if it was not percent-encoded either.
status: a text, since nginx has `000` for a request that ended without. upstream, upstream_status: of each server that was
asked, in order: a second one is a fallback. seconds: from the first byte of the request to its end; of a mirrored request,
to the answer to its copy. bytes: of the answer's body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from carrier2.directive import COLUMN, Directive, key, mapping, regex, simple
from carrier2.dispatch import Destination, Listener
from carrier2.processes import reached

STDOUT = "stdout"
"""What the carrier's container makes of it: its standard output, if nginx may open that by path, which it must (image/carrier2)."""

_UTF8 = (
    r"(?:[\x00-\x7f]++|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    r"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*+"
)
"""RFC 3629 section 4."""

_FIELDS = {
    "method": "$request_method",
    "path": "$c2_path",
    "status": "$status",
    "upstream": "$upstream_addr",
    "upstream_status": "$upstream_status",
}


def logs(listener: Listener) -> bool:
    """Whether some request of this port is logged."""
    return bool(_logging(listener))


def _logging(listener: Listener) -> list[Destination]:
    return [each for each in reached(listener) if each.log]


def maps(listeners: Iterable[Listener]) -> Iterator[Directive]:
    """`$c2_<port>_log`, the bridge's mode if its requests are logged, else ""; and what nginx has no variable for."""
    ports = [each for each in listeners if logs(each)]
    if ports:
        time = regex(r"^(.{19})(.*)\t[0-9]*(\.[0-9]*)"), "$1$3$2"
        yield mapping(COLUMN.join(("$time_iso8601", "$msec")), "$c2_time", ("default", ""), time, note="with milliseconds")
        sent = regex(r"^([!-~]*?)(?:\?|$)"), "$1"
        yield mapping("$request_uri", "$c2_path_sent", ("default", ""), sent, note="the path, percent-encoded")
        yield mapping("$uri", "$c2_path", ("default", "$c2_path_sent"), (regex(f"^{_UTF8}$"), "$uri"), note="the path, decoded")
    for each in ports:
        pick, log = f"$c2_{each.port}_pick", f"$c2_{each.port}_log"
        modes = ((key(to.bridge), to.mode) for to in _logging(each))
        yield mapping(pick, log, ("default", ""), *modes, note=f"port {each.port}: whose requests are logged")


def formats(listeners: Iterable[Listener]) -> Iterator[Directive]:
    """The `log_format` of each port that logs."""
    for port in (each.port for each in listeners if logs(each)):
        texts = {"time": "$c2_time", "bridge": f"$c2_{port}_pick", "mode": f"$c2_{port}_log", **_FIELDS}
        line = ",".join((*(f'"{name}":"{of}"' for name, of in texts.items()), '"seconds":$request_time', '"bytes":$body_bytes_sent'))
        yield simple("log_format", f"c2_{port}", "escape=json", f"{{{line}}}")


def switch(port: int) -> Directive:
    """The directive of a port that logs."""
    return simple("access_log", STDOUT, f"c2_{port}", f"if=$c2_{port}_log")

"""The routes of one target as a picture: client, Services, carriers, the bridges they choose from, the shadows behind them.

`routes` reads them off a snapshot; `mermaid` and `svg` draw them. The SVG is laid out by hand for its one shape (three columns, no
line crosses a box), stands alone, and follows the reader's light or dark theme.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from generator import names
from generator.cluster.endpoints import services_of
from generator.cluster.snapshot import Key, Obj, Snapshot, annotations_of, labels_of
from generator.cluster.workload import Original, original, pods_of
from generator.desired import routing
from generator.desired.generate import Desired
from generator.rules import precedence as rules
from generator.rules.conditions import in_words


@dataclass(frozen=True, slots=True)
class Pod:
    """An original. carried: the carrier runs in it. shadow: the name of its own shadow, "" without one."""

    name: str
    carried: bool
    shadow: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge on one port. rules: (place in the order in which the carrier tries the rules of the port, conditions in words)."""

    name: str
    owner: str
    port: int
    rules: tuple[tuple[int, str], ...]
    address: str
    mode: str
    fallback: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Everything there is to draw.

    services: name and ports as in `80 -> http`. passed: ports that go to the shadows unread. refused: bridges that take no part, and why.
    """

    workload: Key
    container: str
    services: tuple[tuple[str, tuple[str, ...]], ...]
    pods: tuple[Pod, ...]
    bridges: tuple[Bridge, ...]
    passed: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """What the picture is of."""
        return f"{self.workload}, container {self.container}"


def routes(snapshot: Snapshot, desired: Desired, at: tuple[Key, str], refused: Iterable[tuple[str, str]] = ()) -> Graph:
    """The routes of a container of a workload that is in the snapshot. refused: bridges that take no part, and why."""
    key, container = at
    space = snapshot.space(key.namespace)
    found = [original(pod) for pod in pods_of(space, key.kind, key.name)]
    pods = tuple(_pod(item, container) for item in found if not item.gone)
    services = services_of(space, labels_of(found[0].pod)) if found else []
    claim, outcome = desired.intent.claims.get(key, {}).get(container), desired.outcomes.get(key)
    bridges: list[Bridge] = []
    passed: list[str] = []
    if claim and outcome and outcome.admitted:
        reached, _ = routing.connections(snapshot, claim.bridges)
        for port in claim.ports:
            here = [b for b in claim.bridges if port.protocol == "TCP" and (b.name, port.number) in reached]
            order = list(enumerate(rules.ordered(routing.candidates_of(here, port.number)), 1))
            for bridge in here:
                address = reached[bridge.name, port.number].address
                own = tuple((n, in_words(c.conditions)) for n, c in order if c.bridge == bridge.name)
                bridges.append(Bridge(bridge.name, bridge.owner, port.number, own, str(address), bridge.mode, bridge.fallback))
            if not here:
                passed.append(f"{port.number}/{port.protocol}")
    bridges.sort(key=lambda b: (b.port, b.rules, b.name))
    return Graph(key, container, tuple(map(_service, services)), pods, tuple(bridges), tuple(passed), tuple(refused))


def _pod(item: Original, container: str) -> Pod:
    target = item.containers.get(container)
    return Pod(item.name, bool(target and target.carried), annotations_of(item.pod).get(names.SHADOW, ""))


def _service(service: Obj) -> tuple[str, tuple[str, ...]]:
    ports = service["spec"].get("ports") or ()
    return service["metadata"]["name"], tuple(f"{p['port']} -> {p.get('targetPort', p['port'])}" for p in ports)


# --- Mermaid ---------------------------------------------------------------------------------------------------------


def mermaid(graph: Graph) -> str:
    """A flowchart (mermaid.js.org, "Flowcharts")."""
    carried = any(p.carried for p in graph.pods)
    lines = ["flowchart LR", '  client(["client"])']
    for i, (name, ports) in enumerate(graph.services):
        lines += [f'  service{i}["{_m(f"Service {name}", *ports)}"]', f"  client --> service{i} --> target"]
    lines += ["  client --> target"] if not graph.services else []
    lines.append(f'  subgraph target["{_m(graph.title)}"]')
    lines += [f'    pod{i}["{_m(p.name, "carrier" if p.carried else "application")}"]' for i, p in enumerate(graph.pods)]
    lines.append("  end")
    for i, b in enumerate(graph.bridges):
        line = "-.->" if b.mode == "mirror" else "-->"
        tried = _m(f"port {b.port}", *(f"{n}. {words}" for n, words in b.rules))
        lines.append(f'  target {line}|"{tried}"| bridge{i}(["{_m(*_bridge_lines(b))}"])')
    for i, p in enumerate(graph.pods):
        if p.shadow and carried:
            lines += [f'  pod{i} -->|"{_m("all else")}"| shadow{i}["{_m(p.shadow, "shadow")}"]']
    for i, (name, why) in enumerate(graph.refused):
        lines += [f'  refused{i}["{_m(f"bridge {name}", why)}"]:::refused']
    lines += ["  classDef refused stroke-dasharray: 4 4"] if graph.refused else []
    return "\n".join(lines) + "\n"


def _m(*parts: str) -> str:
    """Text in quotes: what Mermaid or HTML would read as its own becomes an entity code."""
    clean = (" ".join(part.split()) for part in parts)
    return "<br/>".join(re.sub(r"[^\w ./:,'()@=*+\[\]-]", lambda found: f"#{ord(found[0])};", part) for part in clean)


def _bridge_lines(b: Bridge) -> tuple[str, ...]:
    owner = "" if b.owner == b.name else f", {b.owner}"
    if b.mode == "mirror":
        return f"bridge {b.name}{owner}", f"{b.address} gets a copy", "the shadow answers"
    end = "then 502" if b.fallback == "error" else "else the shadow"
    return f"bridge {b.name}{owner}", f"{b.address}, {end}"


# --- SVG -------------------------------------------------------------------------------------------------------------

_CHAR: Final = 7.25  # width of a monospaced character at 12 px
_LINE: Final = 17
_PAD: Final = 10
_GAP: Final = 14
_CLIENT, _SERVICES, _PODS, _RIGHT = 24, 136, 372, 704  # left edges of the columns
_WIDTHS: Final = {_CLIENT: 66, _SERVICES: 190, _PODS: 262, _RIGHT: 372}
_MOST_PODS: Final = 8
_MOST_LINES: Final = 4
_STYLE: Final = """
    svg { --back: #ffffff; --text: #1f2328; --soft: #59636e; --line: #818b98; --frame: #f6f8fa; --pod: #ddf4ff; --podline: #0969da;
      --shadow: #eaeef2; --bridge: #dafbe1; --bridgeline: #1a7f37; --refusedline: #bf8700 }
    @media (prefers-color-scheme: dark) { svg { --back: #0d1117; --text: #f0f6fc; --soft: #9198a1; --line: #656c76; --frame: #151b23;
      --pod: #0c2d4d; --podline: #4493f8; --shadow: #262c36; --bridge: #12361f; --bridgeline: #3fb950; --refusedline: #d29922 } }
    text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328; fill: var(--text) }
    .soft { fill: #59636e; fill: var(--soft) }
    .bold { font-weight: 700 }
    .back { fill: #ffffff; fill: var(--back) }
    rect { stroke: #818b98; stroke: var(--line); fill: #ffffff; fill: var(--back) }
    .back { stroke: none }
    .frame { fill: #f6f8fa; fill: var(--frame) }
    .pod { fill: #ddf4ff; fill: var(--pod); stroke: #0969da; stroke: var(--podline) }
    .shadow { fill: #eaeef2; fill: var(--shadow) }
    .bridge { fill: #dafbe1; fill: var(--bridge); stroke: #1a7f37; stroke: var(--bridgeline) }
    .refused { stroke: #bf8700; stroke: var(--refusedline); stroke-dasharray: 5 4 }
    path { fill: none; stroke: #818b98; stroke: var(--line); stroke-width: 1.5 }
    .green { stroke: #1a7f37; stroke: var(--bridgeline) }
    .copy { stroke-dasharray: 5 4 }
    .head { fill: #818b98; fill: var(--line); stroke: none }
    .green.head { fill: #1a7f37; fill: var(--bridgeline); stroke: none }"""


def svg(graph: Graph) -> str:
    """A drawing of its own, about 1,100 px wide."""
    picture = _Picture()
    top = 56.0
    shown = graph.pods[:_MOST_PODS]
    row = 2 * _PAD + 2 * _LINE - 5
    pods_top = top + _LINE + 12
    bottom = pods_top + len(shown) * (row + _GAP) + (_LINE if len(graph.pods) > len(shown) else 0)
    middle = (top + bottom) / 2

    picture.text(_CLIENT, 28, [(_cut(graph.title, 140), "bold")])
    picture.rect(_PODS - 12, top, _WIDTHS[_PODS] + 24, bottom - top, "frame")
    carried = any(p.carried for p in graph.pods)
    picture.text(_PODS, top + 18, [("the same configuration in each" if carried else "not bridged", "soft")])
    for i, pod in enumerate(shown):
        y = pods_top + i * (row + _GAP)
        picture.box(
            _PODS, y, "pod" if pod.carried else "plain", [(pod.name, "bold"), ("carrier" if pod.carried else "application", "soft")]
        )
        if pod.carried and pod.shadow:
            picture.box(_RIGHT, y, "shadow", [(pod.shadow, "bold"), ("its own shadow: all that no rule takes", "soft")])
            picture.arrow([(_PODS + _WIDTHS[_PODS], y + row / 2), (_RIGHT, y + row / 2)])
    if len(graph.pods) > len(shown):
        picture.text(_PODS, bottom - 10, [(f"and {len(graph.pods) - len(shown)} Pods more", "soft")])

    below = max(_services(picture, graph, middle), bottom)
    picture.height = below + 24
    y = below + 24
    trunk = _PODS + 60.0
    if graph.bridges:
        picture.text(_RIGHT, y + 10, [("rules, in the order in which a port tries them", "soft")])
        y += _LINE + 4
    for bridge in graph.bridges:
        lines = [(line, "bold" if i == 0 else "") for i, line in enumerate(_bridge_lines(bridge))]
        for number, words in bridge.rules:
            lines += [(line, "soft") for line in _folded(f"{number}. port {bridge.port}: {words}", _RIGHT, "   ")]
        height = picture.box(_RIGHT, y, "bridge", lines)
        picture.arrow(
            [(trunk, bottom), (trunk, y + height / 2), (_RIGHT, y + height / 2)], "green copy" if bridge.mode == "mirror" else "green"
        )
        y += height + _GAP
        picture.height = y + 10
    _notes(picture, graph, below + 24, y)
    return picture.xml(graph.title)


def _services(picture: _Picture, graph: Graph, middle: float) -> float:
    """The client and the Services, centred beside the Pods; where they end."""
    boxes = [[(name, "bold"), ("Service", "soft"), *((port, "soft") for port in ports)] for name, ports in graph.services]
    heights = [2 * _PAD + len(_fitted(lines, _SERVICES)) * _LINE - 5 for lines in boxes]
    y = max(56.0, middle - (sum(heights) + _GAP * (len(boxes) - 1)) / 2)
    client = 2 * _PAD + _LINE - 5
    centre = y + (sum(heights) + _GAP * (len(boxes) - 1)) / 2 if boxes else middle
    picture.box(_CLIENT, centre - client / 2, "plain", [("client", "")])
    out, into = _CLIENT + _WIDTHS[_CLIENT], _PODS - 12.0
    if not boxes:
        picture.arrow([(out, centre), (into, centre)])
    for lines, height in zip(boxes, heights, strict=True):
        picture.box(_SERVICES, y, "plain", lines)
        half = y + height / 2
        bend = (out + _SERVICES) / 2
        picture.arrow([(out, centre), (bend, centre), (bend, half), (_SERVICES, half)])
        picture.arrow([(_SERVICES + _WIDTHS[_SERVICES], half), (into, half)])
        y += height + _GAP
    return y


def _notes(picture: _Picture, graph: Graph, left: float, y: float) -> None:
    """What takes no part: ports that are passed through, and bridges with the reason."""
    if graph.passed:
        lines = [(line, "soft") for line in ("passed through unread:", *_folded(", ".join(graph.passed), _SERVICES))]
        picture.text(_SERVICES, left + 16, lines)
        picture.height = max(picture.height, left + 30 + len(lines) * _LINE)
    for name, why in graph.refused:
        lines = [(f"bridge {name} takes no part", "bold"), *((line, "soft") for line in _folded(why, _RIGHT))]
        y += picture.box(_RIGHT, y, "refused", lines) + _GAP
        picture.height = max(picture.height, y + 10)


def _room(column: int) -> int:
    """Characters that a box of the column holds in a line."""
    return int((_WIDTHS[column] - 2 * _PAD) / _CHAR)


def _folded(text: str, column: int, indent: str = "") -> list[str]:
    """Text in lines that fit, at most _MOST_LINES."""
    clean = " ".join(text.split())
    folded = textwrap.wrap(
        clean, _room(column), subsequent_indent=indent, max_lines=_MOST_LINES, placeholder=" ...", break_on_hyphens=False
    )
    return folded or [""]


def _fitted(lines: Sequence[tuple[str, str]], column: int) -> list[tuple[str, str]]:
    """Lines cut to the column's width."""
    return [(_cut(text, _room(column)), style) for text, style in lines]


def _cut(text: str, room: int) -> str:
    """Text of at most `room` characters; what is too much goes from the middle, since names differ at their ends."""
    text = " ".join(text.split())
    head = room // 2 - 1
    return text if len(text) <= room else f"{text[:head]}...{text[len(text) - (room - head - 3) :]}"


class _Picture:
    """Shapes in the order of drawing, and how far down they go."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.height = 0.0

    def rect(self, x: float, y: float, width: float, height: float, style: str) -> None:
        self.parts.append(f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')

    def text(self, x: float, y: float, lines: Iterable[tuple[str, str]]) -> None:
        for i, (line, style) in enumerate(lines):
            self.parts.append(f'<text class="{style}" x="{x:g}" y="{y + i * _LINE:g}" xml:space="preserve">{_x(line)}</text>')

    def box(self, column: int, y: float, style: str, lines: Sequence[tuple[str, str]]) -> float:
        """A box with lines of text in a column; gives its height."""
        fitted = _fitted(lines, column)
        height = 2 * _PAD + len(fitted) * _LINE - 5
        self.rect(column, y, _WIDTHS[column], height, style)
        self.text(column + _PAD, y + _PAD + 10, fitted)
        return height

    def arrow(self, points: Sequence[tuple[float, float]], style: str = "") -> None:
        """A line through the points, the last stretch of which goes right, with a head."""
        *_, (x, y) = points
        way = " L".join(f"{a:g} {b:g}" for a, b in (*points[:-1], (x - 7, y)))
        self.parts.append(f'<path class="{style}" d="M{way}"/>')
        self.parts.append(f'<path class="{style} head" d="M{x:g} {y:g} l-8 -4.5 v9 z"/>')

    def xml(self, title: str) -> str:
        width, height = _RIGHT + _WIDTHS[_RIGHT] + 24, round(self.height + 10)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        back = f'<rect class="back" width="{width}" height="{height}"/>'
        return "\n".join([head, f"<title>{_x(title)}</title>", f"<style>{_STYLE}\n</style>", back, *self.parts, "</svg>"]) + "\n"


def _x(text: str) -> str:
    """Text in XML 1.0, without the characters that it cannot hold."""
    return escape(re.sub("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text))

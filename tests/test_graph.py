"""The picture of a target's routes: what is in it, and that it can be read whatever the names are."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from typing import NamedTuple
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from generator.cluster.snapshot import Key, Snapshot
from generator.desired.generate import generate
from generator.graph import Bridge, Graph, Pod, mermaid, routes, svg
from generator.simulate import fold, settle, world
from tests import kube

TARGET = Key("Deployment", "shop", "web"), "app"
SVG = "{http://www.w3.org/2000/svg}"
CHARACTER = 7.25  # px, of the 12 px monospaced text


class Box(NamedTuple):
    """A rectangle in the picture, with its class or text."""

    left: float
    top: float
    right: float
    bottom: float
    name: str

    def overlaps(self, other: Box) -> bool:
        """Whether the two share an area."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Box) -> bool:
        """Whether `other` lies within."""
        return self.left <= other.left and self.top <= other.top and other.right <= self.right and other.bottom <= self.bottom


def stream() -> list[kube.Obj]:
    """Deployment shop/web with two ports, a bridge of two rules, a mirror, and one whose connection is not there."""
    objects = kube.deployment("web", {"app": "web"}, [kube.container(ports=(8080, 9090))], 2, 1)
    objects = list(settle(world([*objects, kube.service("web", {"app": "web"}, target=8080)]), kube.NOW).values())
    return [
        *objects,
        kube.mount("web", "deploy/web"),
        kube.bridge("john", "web", [kube.rule(kube.header("owner", "john")), kube.rule(kube.path("/john"))], client="john"),
        kube.bridge("jane", "web", [], client="jane", providerParameter={"mode": "mirror"}, endpoint="[fd00::1]:10001"),
        kube.bridge("bob", "web", [kube.rule(kube.path("/bob"))], client="bob", endpoint=""),
    ]


def at_the_end(objects: list[kube.Obj]) -> Graph:
    """The routes of shop/web when all steps are done."""
    run = fold(objects, kube.NOW)
    return routes(Snapshot.of(run.end, run.now), run.desired, TARGET, [("bob", "EndpointUnresolved: none yet")])


def test_reads_the_routes() -> None:
    """Services, carriers with their shadows, rules in the order of the carrier, ports that pass through."""
    graph = at_the_end(stream())
    pods = sorted(o["metadata"]["name"] for o in stream() if o["kind"] == "Pod")

    assert graph.services == (("web", ("80 -> 8080",)),)
    assert [p.name for p in graph.pods] == pods
    assert all(p.carried and p.shadow.startswith("web-shadow-") for p in graph.pods)
    assert len({p.shadow for p in graph.pods}) == 2
    assert graph.bridges == (
        Bridge(
            "john",
            "john",
            8080,
            ((1, "header owner is 'john'"), (2, "path is '/john' or below")),
            "10.200.0.1:10000",
            "intercept",
            "cluster",
        ),
        Bridge("jane", "jane", 8080, ((3, "every request"),), "[fd00::1]:10001", "mirror", "cluster"),
    )
    assert graph.passed == ("9090/TCP",)


def test_reads_what_is_not_bridged() -> None:
    """Without a bridge there are Services and applications, and no route to draw."""
    objects = [o for o in stream() if not o["kind"].startswith("gefyra")]
    snapshot = Snapshot.of(objects, kube.NOW)
    graph = routes(snapshot, generate(snapshot), TARGET)

    assert (graph.bridges, graph.passed, [p.carried for p in graph.pods]) == ((), (), [False, False])
    assert "not bridged" in svg(graph)


def test_mermaid() -> None:
    """The flowchart has each edge once: Services, bridges (a mirror dotted), shadows."""
    text = mermaid(at_the_end(stream()))

    assert text.startswith("flowchart LR\n")
    assert text.count("client --> service0 --> target") == 1
    assert "target -->|\"port 8080<br/>1. header owner is 'john'<br/>2. path is '/john' or below\"| bridge0" in text
    assert 'target -.->|"port 8080<br/>3. every request"| bridge1(["bridge jane<br/>' in text
    assert len(re.findall(r'pod\d -->\|"all else"\| shadow\d\[', text)) == 2
    assert 'refused0["bridge bob<br/>EndpointUnresolved: none yet"]:::refused' in text


NASTY = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)
GRAPHS = st.builds(
    Graph,
    workload=st.builds(Key, NASTY, NASTY, NASTY),
    container=NASTY,
    services=st.lists(st.tuples(NASTY, st.lists(NASTY, max_size=4).map(tuple)), max_size=4).map(tuple),
    pods=st.lists(st.builds(Pod, NASTY, st.booleans(), st.one_of(st.just(""), NASTY)), max_size=11).map(tuple),
    bridges=st.lists(
        st.builds(
            Bridge,
            name=NASTY,
            owner=NASTY,
            port=st.integers(1, 65535),
            rules=st.lists(st.tuples(st.integers(1, 999), NASTY), min_size=1, max_size=4).map(tuple),
            address=NASTY,
            mode=st.sampled_from(("intercept", "mirror")),
            fallback=st.sampled_from(("cluster", "error")),
        ),
        max_size=4,
    ).map(tuple),
    passed=st.lists(st.sampled_from(("53/UDP", "9090/TCP", "65535/TCP")), max_size=8).map(tuple),
    refused=st.lists(st.tuples(NASTY, NASTY), max_size=3).map(tuple),
)


@settings(max_examples=60)
@given(GRAPHS)
def test_svg_can_be_read(graph: Graph) -> None:
    """Well-formed; no two boxes overlap, no two texts do, each text lies in one box or in none, all within the picture."""
    root = ET.fromstring(svg(graph))
    picture = Box(0, 0, float(root.attrib["width"]), float(root.attrib["height"]), "picture")
    boxes = [_rect(e) for e in root.iter(f"{SVG}rect") if e.attrib["class"] != "back"]
    texts = [_text(e) for e in root.iter(f"{SVG}text")]
    frame = next(b for b in boxes if b.name == "frame")
    solid = [b for b in boxes if b is not frame]

    assert all(picture.holds(b) for b in boxes)
    assert all(picture.holds(t) for t in texts)
    assert not [(a, b) for a, b in combinations(solid, 2) if a.overlaps(b)]
    assert not [(a, b) for a, b in combinations(texts, 2) if a.overlaps(b)]
    assert not [(t, b) for t in texts for b in solid if t.overlaps(b) and not b.holds(t)]
    assert all(frame.holds(b) or not frame.overlaps(b) for b in solid)


@settings(max_examples=60)
@given(GRAPHS)
def test_svg_lines_cross_no_box(graph: Graph) -> None:
    """A line touches the boxes it joins at their edge and runs through no other."""
    root = ET.fromstring(svg(graph))
    solid = [_rect(e) for e in root.iter(f"{SVG}rect") if e.attrib["class"] not in ("back", "frame")]
    inner = [Box(b.left + 1, b.top + 1, b.right - 1, b.bottom - 1, b.name) for b in solid]

    for path in root.iter(f"{SVG}path"):
        if "head" not in path.attrib["class"]:
            points = [tuple(map(float, point.split())) for point in path.attrib["d"].lstrip("M").split("L")]
            for (x1, y1), (x2, y2) in pairwise(points):
                line = Box(min(x1, x2), min(y1, y2) - 0.1, max(x1, x2) + 0.1, max(y1, y2), "line")
                assert not [b for b in inner if b.overlaps(line)]


@settings(max_examples=60)
@given(GRAPHS)
def test_mermaid_survives_any_text(graph: Graph) -> None:
    """No text closes its quotes, breaks its line or opens markup."""
    lines = mermaid(graph).splitlines()

    assert len(lines) == mermaid(graph).count("\n")
    for line in lines:
        assert line.count('"') % 2 == 0
        for quoted in re.findall(r'"([^"]*)"', line):
            assert not re.search(r"[<>&`{}|\\]", quoted.replace("<br/>", ""))


def _rect(element: ET.Element) -> Box:
    x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
    return Box(x, y, x + width, y + height, element.attrib["class"])


def _text(element: ET.Element) -> Box:
    x, y, content = float(element.attrib["x"]), float(element.attrib["y"]), element.text or ""
    return Box(x, y - 9, x + CHARACTER * len(content), y + 3, content)

"""What a user or a Pod says never becomes a directive: from the cluster's objects to the ConfigMap, whatever is in them."""

from __future__ import annotations

import copy
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from carrier2.directive import Unquotable
from generator import codes
from generator.errors import InputError
from generator.simulate import fold
from tests import kube
from tests.nginx_reader import read, walk
from tests.test_injection import ATTACKS, DIRECTIVES, MANY, entries

FRONT = st.sampled_from([text for text in ATTACKS if len(text) < 500]) | st.text(max_size=8)


def _items() -> st.SearchStrategy[dict[str, Any]]:
    """One item of `match`, with any text in it."""
    match = st.sampled_from(["exact", "prefix", "regex"])
    named = st.fixed_dictionaries({"name": st.sampled_from(["user", "x-user"]) | FRONT, "value": FRONT, "type": match})
    path = st.fixed_dictionaries({"path": FRONT | FRONT.map(lambda text: f"/{text}"), "type": match})
    return st.one_of(
        st.sampled_from([kube.header("x-user", "alice"), kube.path("/api")]),
        st.tuples(st.sampled_from(["matchHeader", "matchQuery", "matchCookie"]), named).map(lambda item: {item[0]: item[1]}),
        path.map(lambda body: {"matchPath": body}),
        FRONT.map(lambda method: {"matchMethod": {"method": method}}),
    )


@st.composite
def streams(draw: st.DrawFn) -> list[kube.Obj]:
    """A Deployment with a Service, two bridges, and hostile text in one to three places anywhere in them."""
    objects = kube.deployment("web", {"app": "web"}, [kube.container()], 2, 1)
    objects += [kube.service("web", {"app": "web"}), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1", "uid": "node1"}}]
    for number in range(2):
        rules = [{"match": draw(st.lists(_items(), min_size=1, max_size=2))} for _ in range(draw(st.integers(0, 2)))]
        where = {"targetNamespace": "shop", "targetContainer": "app"}
        objects.append(kube.bridge(f"b{number}", "deployment/web", rules, (f"{3000 + number}:8080",), f"user{number}", **where))
    objects = copy.deepcopy(objects)
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        obj, text = draw(st.sampled_from(objects)), draw(FRONT)
        place = draw(
            st.sampled_from(["name", "label", "labels", "annotation", "client", "endpoint", "target", "hostname", "clusterIP", "podIP"])
        )
        metadata = obj["metadata"]
        if place == "name":
            metadata["name"] = text
        elif place == "label":
            metadata.setdefault("labels", {})[text] = "x"
        elif place == "labels":
            metadata["labels"] = dict.fromkeys(metadata.get("labels", {"app": ""}), text)
        elif place == "annotation":
            metadata["annotations"] = {text: text, "bascule.dev/x": text}
        elif place == "endpoint" and "clusterEndpoint" in obj:
            obj["clusterEndpoint"] = {"8080": draw(st.sampled_from([text, f"{text}:80", f"10.0.0.1:{text}", f"{text}.shop.svc:80"]))}
        elif place in obj:
            obj[place] = text
        elif place == "hostname" and obj["kind"] == "Pod":
            obj["spec"] |= {"hostname": text, "subdomain": text}
        elif place == "clusterIP" and obj["kind"] == "Service":
            obj["spec"]["clusterIP"] = text
        elif place == "podIP" and obj["kind"] == "Pod":
            obj["status"]["podIP"] = text
    return objects


@settings(MANY, max_examples=100)
@given(streams())
def test_through_the_front_door(objects: list[kube.Obj]) -> None:
    """What is wrong is refused with a code, and every configuration has directives of the list alone, whoever asked for what.

    A Pod or a bridge with a name that no API server admits ends the run.
    """
    try:
        run = fold(objects, kube.NOW, 20)
    except InputError as refused:
        found: list[str] = [problem.code for problem in refused.problems] or ["none"]
    except Unquotable as impossible:
        found = [] if re.search("not a hostname|not a bridge's name", str(impossible)) else [str(impossible)]
    else:
        found = [problem.code for problem in run.desired.problems]
        for obj in run.end:
            if obj["kind"] == "ConfigMap":
                _check_closed(obj["data"]["nginx.conf"])
    assert set(found) <= set(codes.CODES)


def _check_closed(text: str) -> None:
    for above, each in walk(read(text.encode())):
        if above[-1:] not in ((b"map",), (b"geo",)):
            assert each.name.decode() in DIRECTIVES, each
        assert each.block is None or each.name not in (b"include", b"load_module")
        if each.name == b"listen":
            assert re.fullmatch(rb"(?:\[::\]:)?8080", each.args[0])
        if each.name == b"return":
            assert each.args[0] in (b"418", b"419", b"502"), each


def test_the_front_door_opens() -> None:
    """A stream without attacks ends in a configuration; with a quote and a backslash in a value too."""
    for value in ("alice", 'a"; } server { listen 1; } #', "a\\", "${c2_grpc}"):
        objects = kube.deployment("web", {"app": "web"}, [kube.container()], 1, 1)
        objects += [
            kube.service("web", {"app": "web"}),
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1", "uid": "node1"}},
        ]
        rules = [kube.rule(kube.header("x-user", value))]
        objects.append(kube.bridge("b", "deployment/web", rules, targetNamespace="shop", targetContainer="app"))
        (conf,) = [o["data"]["nginx.conf"] for o in fold(objects, kube.NOW).end if o["kind"] == "ConfigMap"]
        _check_closed(conf)
        assert any(value.encode() in key for key, _ in entries(read(conf.encode())))

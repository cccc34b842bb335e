"""Objects that share equal parts: what they say stays the same, text for text, and nothing that differs in type is taken for equal."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pykube
from hypothesis import given
from hypothesis import strategies as st

from generator.cluster.snapshot import key_of
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.sharing import shared
from tests import kube

leaves = st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from((0.5, 1.0, "", "a", "1"))
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3))


@given(values, values)
def test_what_is_shared_says_the_same(new: Any, old: Any) -> None:
    """Also of 1, 1.0 and true, and of fields in another order; neither object is changed by it."""
    before = json.dumps(new), json.dumps(old)
    found = shared(new, old)

    assert json.dumps(found) == before[0]
    assert (json.dumps(new), json.dumps(old)) == before
    assert (found is old) == (before[0] == before[1] or new is old)


@given(values, values)
def test_what_is_equal_is_one(part: Any, other: Any) -> None:
    """At the same place in fields and lists, whatever stands beside it."""
    old: Any = {"metadata": 1, "spec": [part, {"a": part}, 1]}
    found = shared(deepcopy({"spec": [part, {"a": part}, other, other], "more": part}), old)

    assert found["spec"][0] is old["spec"][0]
    assert found["spec"][1] is old["spec"][1]


def test_pods_of_one_owner_share_their_spec() -> None:
    """All of it; their names and addresses stay their own."""
    pods = [o for o in kube.deployment("web", {"app": "web"}, [kube.container()], 2, 1) if o["kind"] == "Pod"]
    one, other = json.loads(json.dumps(pods))
    found = shared(other, one)

    assert found["spec"] is one["spec"]
    assert found["metadata"]["labels"] is one["metadata"]["labels"]
    assert found == pods[1] != pods[0]


def test_the_mirror_keeps_equal_parts_once() -> None:
    """Of Pods that come one after the other, and of a Pod that changes."""
    mirror = Mirror(Kube(pykube.KubeConfig(kube.NOBODY)), lambda *_: None)
    pods = [o for o in kube.deployment("web", {"app": "web"}, [kube.container()], 2, 1) if o["kind"] == "Pod"]
    changed = {**pods[0], "status": {"phase": "Failed"}}
    for version, pod in enumerate((*pods, changed)):
        fresh = json.loads(json.dumps(pod))
        fresh["metadata"]["resourceVersion"] = str(version + 1)
        mirror.saw(key_of(fresh), fresh)
    one, other = (mirror.get(key_of(pod)) or {} for pod in pods)

    assert one["status"] == {"phase": "Failed"}
    assert one["spec"] is other["spec"]

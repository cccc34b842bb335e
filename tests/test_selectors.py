"""generator/cluster/selectors.py and tracking.py: what picks labels, and how a shadow escapes it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.cluster.selectors import Index, joined_labels, matches, quiet_labels, service_matches, service_selector
from generator.cluster.tracking import strip_annotations, strip_labels

KEYS, VALUES = st.sampled_from("abcde"), st.sampled_from("xyz")
LABELS = st.dictionaries(KEYS, VALUES, max_size=5)
EXPRESSIONS = st.one_of(
    st.builds(
        lambda k, o, v: {"key": k, "operator": o, "values": v},
        KEYS,
        st.sampled_from(["In", "NotIn"]),
        st.lists(VALUES, min_size=1, max_size=2),
    ),
    st.builds(lambda k, o: {"key": k, "operator": o}, KEYS, st.sampled_from(["Exists", "DoesNotExist"])),
)
SELECTORS = st.one_of(
    st.none(),
    st.builds(
        lambda m, e: {"matchLabels": m, "matchExpressions": e}, st.dictionaries(KEYS, VALUES, max_size=2), st.lists(EXPRESSIONS, max_size=2)
    ),
)


def owned(selectors: list[dict[str, Any] | None]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each selector with an owner of its own."""
    return [({"kind": "Deployment" if n % 2 else "Service", "metadata": {"name": f"n{n:03}"}}, s) for n, s in enumerate(selectors)]


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        (None, {"a": "x"}, False),
        ({}, {}, True),
        ({"matchLabels": None, "matchExpressions": None}, {"a": "x"}, True),
        ({"matchLabels": {"a": "x"}}, {"a": "x", "b": "y"}, True),
        ({"matchLabels": {"a": "x"}}, {"a": "y"}, False),
        ({"matchLabels": {"a": ""}}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x", "y"]}]}, {"a": "y"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}, {"a": "x"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": "x"}, False),
        ({"matchLabels": {"a": "x"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "x"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, {"a": "2"}, False),
    ],
)
def test_label_selectors(selector: dict[str, Any] | None, labels: dict[str, str], expected: bool) -> None:
    """metav1.LabelSelector, with the cases that are easily got wrong: None, empty, NotIn of a missing key, both parts together."""
    assert matches(selector, labels) is expected


def test_service_selectors() -> None:
    """A Service without selector picks no Pod, unlike an empty LabelSelector."""
    assert not service_matches(None, {"a": "x"})
    assert not service_matches({}, {"a": "x"})
    assert service_matches({"a": "x"}, {"a": "x", "b": "y"})
    assert not service_matches({"a": "x", "b": "z"}, {"a": "x", "b": "y"})
    assert (service_selector({}), service_selector({"a": "x"})) == (None, {"matchLabels": {"a": "x"}})


@settings(max_examples=200, deadline=None)
@given(st.lists(SELECTORS, max_size=12), LABELS)
def test_index_agrees_with_asking_each(selectors: list[dict[str, Any] | None], labels: dict[str, str]) -> None:
    """The index finds exactly the owners whose selectors match, sorted by kind and name, in whatever order it was built."""
    pairs = owned(selectors)
    expected = sorted((o for o, s in pairs if matches(s, labels)), key=lambda o: (o["kind"], o["metadata"]["name"]))
    assert Index(pairs).matching(labels) == expected
    assert Index(pairs[::-1]).matching(labels) == expected


def test_index_asks_few() -> None:
    """A selector stands under its rarest label: one that thousands share does not make all of them candidates."""
    shared = [
        ({"kind": "Service", "metadata": {"name": f"s{n}"}}, {"matchLabels": {"part-of": "shop", "app": f"a{n}"}}) for n in range(500)
    ]
    index = Index(shared)
    assert max(len(bucket) for bucket in index._buckets.values()) == 1
    assert [o["metadata"]["name"] for o in index.matching({"part-of": "shop", "app": "a7"})] == ["s7"]


def keeps(labels: dict[str, str]) -> int:
    """Some score, to be maximised."""
    return sum(ord(k) * ord(v) for k, v in labels.items()) % 3


@settings(max_examples=200, deadline=None)
@given(st.lists(SELECTORS, max_size=8), LABELS)
def test_quiet_labels_are_the_smallest_change(selectors: list[dict[str, Any] | None], labels: dict[str, str]) -> None:
    """Against trying every subset: nothing matches the result, no smaller removal does it, ties go by score and then by key."""
    pairs = owned(selectors)
    expected = None
    for size in range(len(labels) + 1):
        rests = [({k: v for k, v in labels.items() if k not in gone}, gone) for gone in combinations(sorted(labels), size)]
        if quiet := [(-keeps(rest), gone, rest) for rest, gone in rests if not any(matches(s, rest) for _, s in pairs)]:
            expected = min(quiet, key=lambda q: q[:2])[2]
            break
    assert quiet_labels(labels, Index(pairs), keeps) == expected


def test_quiet_labels_with_many_candidates() -> None:
    """Twenty needed keys in ten selectors end in an answer: one key of each."""
    labels = {f"k{n:02}": "x" for n in range(20)}
    index = Index(owned([{"matchLabels": {f"k{n:02}": "x", f"k{n + 1:02}": "x"}} for n in range(0, 20, 2)]))
    assert quiet_labels(labels, index) == {f"k{n:02}": "x" for n in range(1, 20, 2)}
    everything = Index(owned([{"matchLabels": dict(labels)}, {}]))
    assert quiet_labels(labels, everything) is None


@settings(max_examples=200, deadline=None)
@given(LABELS, st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=4), st.sets(KEYS))
def test_joined_labels_serve_the_services_and_no_more(labels: dict[str, str], services: list[dict[str, str]], removed: set[str]) -> None:
    """Every Service that selected the original selects the joined shadow, and each label that came back is needed for one."""
    quiet = {"ours": "1"} | {k: v for k, v in labels.items() if k not in removed}
    joined = joined_labels(quiet, labels, services)
    serving = [s for s in services if service_matches(s, labels)]
    assert all(service_matches(s, joined) for s in serving)
    assert all(joined[k] == v for k, v in quiet.items())
    assert all(any(k in s for s in serving) and labels[k] == v for k, v in joined.items() if k not in quiet)


def test_tracking_goes_and_the_rest_stays() -> None:
    """What makes Argo CD, Flux, Helm, kapp or kubectl count a Pod as theirs goes; other labels, and requests to a network plugin, stay."""
    kept = {"app": "web", "pod-template-hash": "775bc6d868", "app.kubernetes.io/name": "web", "statefulset.kubernetes.io/pod-name": "db-0"}
    tracking = (
        "app.kubernetes.io/instance",
        "argocd.argoproj.io/instance",
        "app.kubernetes.io/managed-by",
        "helm.sh/chart",
        "kapp.k14s.io/app",
    )
    flux = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace", "applyset.kubernetes.io/part-of")
    assert strip_labels(kept | dict.fromkeys(tracking + flux, "x")) == kept
    notes = {"k8s.v1.cni.cncf.io/networks": "net1", "prometheus.io/scrape": "true", "kubectl.kubernetes.io/default-container": "app"}
    gone = (
        "argocd.argoproj.io/tracking-id",
        "meta.helm.sh/release-name",
        "kapp.k14s.io/identity",
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "k8s.v1.cni.cncf.io/network-status",
        "cni.projectcalico.org/podIP",
        "kubernetes.io/config.hash",
        "kubernetes.io/config.source",
    )
    assert strip_annotations(notes | dict.fromkeys(gone, "x")) == notes


def test_argo_label_comes_back_for_a_service() -> None:
    """app.kubernetes.io/instance leaves the quiet form and returns while a Service that selects by it is served."""
    labels = {"app.kubernetes.io/instance": "shop", "app": "web", "tier": "front"}
    quiet = {k: v for k, v in strip_labels(labels).items() if k != "app"}
    assert quiet == {"tier": "front"}
    assert joined_labels(quiet, labels, [{"app.kubernetes.io/instance": "shop", "app": "web"}]) == labels

"""generator/desired/policies.py, judged by evaluating NetworkPolicies over every pair of Pods."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from generator import names
from generator.cluster.selectors import matches
from generator.desired.policies import directions, policies

NS, TARGET = "shop", "deployment-web"
ORIGINAL = {"app": "web", "tier": "front", "hash": "1"}
SHADOW = {"tier": "front", "hash": "1", names.TARGET: TARGET, names.ROLE: "shadow"}
CARRIER = ORIGINAL | {names.CARRIER: TARGET}
THIRD: tuple[dict[str, str], ...] = ({"app": "web"}, {"app": "api", "tier": "front"}, {"app": "api", "hash": "1"}, {"tier": "back"}, {})
PORTS = ((8080, "TCP"), (53, "UDP"))
CONNECTION = {"user": "alice"}
CONNECTIONS = (({"podSelector": {"matchLabels": CONNECTION}}, 2222), ({"ipBlock": {"cidr": "192.0.2.1/32"}}, 443))

Pod = tuple[str, dict[str, str]]  # namespace and labels


def allows(all_policies: list[dict[str, Any]], pod: Pod, direction: str, other: Pod, port: tuple[int, str]) -> bool:
    """One half of a connection, straight from the Kubernetes documentation: `pod` receives from or sends to `other` on `port`."""
    field, key = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    mine = [
        p
        for p in all_policies
        if p["metadata"]["namespace"] == pod[0] and direction in directions(p) and matches(p["spec"]["podSelector"], pod[1])
    ]

    def peer(rule_peer: dict[str, Any]) -> bool:
        spaces, pods = rule_peer.get("namespaceSelector"), rule_peer.get("podSelector")
        if spaces is None and (pods is None or other[0] != pod[0]):
            return False
        space = {"kubernetes.io/metadata.name": other[0]}
        return (spaces is None or matches(spaces, space)) and (pods is None or matches(pods, other[1]))

    def on_port(entry: dict[str, Any]) -> bool:
        number = entry.get("port")
        fits = number is None or number <= port[0] <= entry.get("endPort", number)
        return bool(fits and entry.get("protocol", "TCP") == port[1])

    return not mine or any(
        (not rule.get(key) or any(map(peer, rule[key]))) and (not rule.get("ports") or any(map(on_port, rule["ports"])))
        for p in mine
        for rule in p["spec"].get(field) or []
    )


def selects_in(all_policies: list[dict[str, Any]], pod: Pod, direction: str) -> bool:
    """Whether `pod` is isolated in `direction`."""
    return any(
        p["metadata"]["namespace"] == pod[0] and direction in directions(p) and matches(p["spec"]["podSelector"], pod[1])
        for p in all_policies
    )


POD_SELECTORS = st.one_of(
    st.sampled_from(
        [
            {},
            {"matchLabels": {"app": "web"}},
            {"matchLabels": {"tier": "front"}},
            {"matchLabels": {"app": "api"}},
            {"matchLabels": {"tier": "back"}},
        ]
    ),
    st.sampled_from([{"matchExpressions": [{"key": "app", "operator": o}]} for o in ("Exists", "DoesNotExist")]),
    st.just({"matchLabels": {"app": "web", "hash": "1"}}),
)
SPACES = st.sampled_from(
    [{}, {"matchLabels": {"kubernetes.io/metadata.name": NS}}, {"matchLabels": {"kubernetes.io/metadata.name": "other"}}]
)
PEERS = st.one_of(
    st.builds(lambda p: {"podSelector": p}, POD_SELECTORS),
    st.builds(lambda n: {"namespaceSelector": n}, SPACES),
    st.builds(lambda n, p: {"namespaceSelector": n, "podSelector": p}, SPACES, POD_SELECTORS),
    st.just({"ipBlock": {"cidr": "10.0.0.0/8"}}),
)
RULE_PORTS = st.lists(
    st.sampled_from(
        [
            {"port": 8080},
            {"port": 8080, "protocol": "TCP"},
            {"port": 53, "protocol": "UDP"},
            {"port": 8000, "endPort": 8100},
            {"protocol": "UDP"},
        ]
    ),
    max_size=2,
)


def rules(key: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Ingress rules (key `from`) or egress rules (key `to`)."""
    rule = st.builds(
        lambda peers, ports: ({key: peers} if peers else {}) | ({"ports": ports} if ports else {}), st.lists(PEERS, max_size=2), RULE_PORTS
    )
    return st.lists(rule, max_size=2)


def policy(namespace: str) -> st.SearchStrategy[dict[str, Any]]:
    """Policies of a namespace."""
    types = st.sampled_from([{}, {"policyTypes": ["Ingress"]}, {"policyTypes": ["Egress"]}, {"policyTypes": ["Ingress", "Egress"]}])
    return st.builds(
        lambda pods, t, ingress, egress: {
            "metadata": {"namespace": namespace},
            "spec": {"podSelector": pods, "ingress": ingress, "egress": egress} | t,
        },
        POD_SELECTORS,
        types,
        rules("from"),
        rules("to"),
    )


def named(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The policies with a name each."""
    return [p | {"metadata": p["metadata"] | {"name": f"p{n}"}} for n, p in enumerate(found)]


def ours(here: list[dict[str, Any]], elsewhere: list[dict[str, Any]], **changes: Any) -> tuple[list[dict[str, Any]], tuple[Any, ...]]:
    """What `policies` makes for the target of this file."""
    given_ = {
        "namespace": NS,
        "target": TARGET,
        "labels": {names.TARGET: TARGET, names.ROLE: "policy"},
        "original": ORIGINAL,
        "shadow": SHADOW,
    }
    return policies(**(given_ | {"here": here, "elsewhere": elsewhere, "ports": PORTS, "connections": CONNECTIONS} | changes))


@settings(max_examples=200, deadline=None)
@given(st.lists(policy(NS), max_size=4), st.lists(policy("other"), max_size=2))
@example([{"metadata": {"namespace": NS}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}], [])
def test_what_held_for_the_original_holds_for_the_shadow(here: list[dict[str, Any]], elsewhere: list[dict[str, Any]]) -> None:
    """For every Pod, port and direction: the shadow gets and sends what the original did, carriers reach shadows and
    connections, and between others nothing changes.
    """
    here, elsewhere = named(here), named(elsewhere)
    made, problems = ours(here, elsewhere)
    before, after = here + elsewhere, here + elsewhere + made
    original, shadow, carrier = (NS, ORIGINAL), (NS, SHADOW), (NS, CARRIER)
    joined = (NS, ORIGINAL | SHADOW)
    thirds = [(space, labels) for space in (NS, "other") for labels in THIRD]
    for direction, back in (("Ingress", "Egress"), ("Egress", "Ingress")):
        for port in (*PORTS, (9999, "TCP")):
            for third in thirds:
                was, now = (allows(before, original, direction, third, port), allows(after, shadow, direction, third, port))
                assert now or not was
                assert allows(after, joined, direction, third, port) or not was
                alone = selects_in(before, shadow, direction) and allows(before, shadow, direction, third, port)
                assert was or alone or not now
                was, now = allows(before, third, back, original, port), allows(after, third, back, shadow, port)
                assert now or not was or (third[0] != NS and problems)
                assert was or not now or allows(before, third, back, shadow, port)
                assert allows(before, third, direction, original, port) == allows(after, third, direction, original, port)
                assert allows(before, original, direction, third, port) == allows(after, original, direction, third, port)
                for other in thirds:
                    assert allows(before, third, direction, other, port) == allows(after, third, direction, other, port)
            if allows(before, original, direction, original, port):
                assert allows(after, shadow, direction, shadow, port)
                assert allows(after, shadow, direction, original, port)
                assert allows(after, original, direction, shadow, port)
    for port in PORTS:
        assert allows(after, carrier, "Egress", shadow, port)
        assert allows(after, shadow, "Ingress", carrier, port)
    assert allows(after, carrier, "Egress", (NS, CONNECTION), (2222, "TCP"))


@settings(max_examples=100, deadline=None)
@given(st.lists(policy(NS), max_size=4), st.lists(policy("other"), max_size=2), st.randoms(use_true_random=False))
def test_order_changes_nothing_and_objects_are_well_formed(
    here: list[dict[str, Any]], elsewhere: list[dict[str, Any]], random: Any
) -> None:
    """Permuted policies give equal output; names are unique and short enough; every port has a protocol."""
    here, elsewhere = named(here), named(elsewhere)
    made, problems = ours(here, elsewhere)
    random.shuffle(here)
    random.shuffle(elsewhere)
    assert ours(here, elsewhere) == (made, problems)
    found = [p["metadata"]["name"] for p in made]
    assert found == sorted(set(found))
    assert all(len(name) <= 63 and name.startswith(f"{TARGET}-") for name in found)
    for p in made:
        assert p["spec"]["policyTypes"] == [d for d in ("Ingress", "Egress") if d.lower() in p["spec"]]
        entries = [e for d in ("ingress", "egress") for rule in p["spec"].get(d, []) for e in rule.get("ports", [])]
        assert all("protocol" in e for e in entries)


def test_most_clusters_get_none() -> None:
    """Without a policy that concerns the target nothing is made."""
    other = {"metadata": {"name": "api", "namespace": NS}, "spec": {"podSelector": {"matchLabels": {"app": "api"}}, "ingress": [{}]}}
    assert ours([], []) == ([], ())
    assert ours([other], []) == ([], ())


def test_default_deny_and_one_rule() -> None:
    """The usual pair, as a whole: deny all, let the front end in. The copy, for shadows and stand-ins, and the ways of the carrier."""
    deny = {"metadata": {"name": "default-deny", "namespace": NS}, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
    web = {
        "metadata": {"name": "web", "namespace": NS},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8080}]}],
        },
    }
    shadows = {"matchLabels": {names.TARGET: TARGET}}
    carriers = {"matchLabels": {names.CARRIER: TARGET}}
    numbers = [{"port": 53, "protocol": "UDP"}, {"port": 8080, "protocol": "TCP"}]
    made, problems = ours([deny, web], [])
    assert problems == ()
    assert {p["metadata"]["name"]: p["spec"] for p in made} == {
        "deployment-web-from-carriers": {
            "podSelector": shadows,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": carriers}], "ports": numbers}],
        },
        "deployment-web-from-carriers-egress": {
            "podSelector": carriers,
            "policyTypes": ["Egress"],
            "egress": [
                {"to": [{"podSelector": shadows}], "ports": numbers},
                *({"to": [peer], "ports": [{"port": port, "protocol": "TCP"}]} for peer, port in CONNECTIONS),
            ],
        },
        "deployment-web-same.web": {
            "podSelector": shadows,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8080, "protocol": "TCP"}]}],
        },
    }
    assert made[2]["metadata"]["annotations"] == {"bascule.dev/policy": "web"}


def test_a_policy_that_only_the_shadow_meets() -> None:
    """Where dropping a label isolates the shadow and not the original, everything is let in again."""
    stray = {
        "metadata": {"name": "stray", "namespace": NS},
        "spec": {"podSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}},
    }
    made, _ = ours([stray], [])
    assert [(p["metadata"]["name"], p["spec"]["policyTypes"], p["spec"].get("ingress")) for p in made] == [
        ("deployment-web-open-ingress", ["Ingress"], [{}])
    ]


def test_a_policy_elsewhere_is_named_with_the_peer_to_add() -> None:
    """A database in another namespace that admits the original by label: we say which peer it needs, and change nothing there."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NS}}, "podSelector": {"matchLabels": {"app": "web"}}}
    db = {"metadata": {"name": "db", "namespace": "data"}, "spec": {"podSelector": {}, "ingress": [{}, {"from": [peer]}]}}
    made, (problem,) = ours([], [db])
    assert made == []
    assert (problem.code, problem.place) == ("NetworkPolicyElsewhere", "NetworkPolicy data/db, spec.ingress[1].from")
    assert problem.cure == (
        "Add to spec.ingress[1].from: - {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}, "
        "podSelector: {matchLabels: {bascule.dev/target: deployment-web}}}"
    )
    inside = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}
    assert ours([], [db | {"spec": inside}])[1] == ()
    assert ours([], [db | {"metadata": {"name": "db", "namespace": "data"}, "spec": {"podSelector": {}, "ingress": [{}]}}])[1] == ()


def test_policies_of_targets_never_share_a_name() -> None:
    """Long names are cut with a digest, and a target whose name looks like our suffix clashes with nobody."""
    web = {"metadata": {"name": "w" * 80, "namespace": NS}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}}}
    found = [
        p["metadata"]["name"]
        for t in ("deployment-a", "deployment-a-same")
        for p in ours([web, web | {"metadata": {"name": "same." + "w" * 80}}], [], target=t)[0]
    ]
    assert len(found) == len(set(found)) == 6
    assert max(map(len, found)) <= 63

"""NetworkPolicies of ours, only added ones: what held for an original holds for its shadow, and carriers reach shadows and connections.

Semantics (kubernetes.io/docs/concepts/services-networking/network-policies, "The two sorts of pod isolation"): a Pod is
isolated in a direction once a policy of that direction selects it; then what any of those policies allows is allowed.
So a policy more never forbids anything to a Pod that is isolated already, and that is where ours are put.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from generator import names
from generator.cluster.selectors import Labels, matches
from generator.errors import Problem

Policy = dict[str, Any]
Direction = Literal["Ingress", "Egress"]

COPIED_FROM: Final = f"{names.GROUP}/policy"  # annotation: the name of the policy that ours follows
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"  # set on each namespace by the API server
_DIRECTIONS: Final[tuple[Direction, ...]] = ("Ingress", "Egress")
_RULES: Final = {"Ingress": "ingress", "Egress": "egress"}
_PEERS: Final = {"Ingress": "from", "Egress": "to"}


def policies(
    *,
    namespace: str,
    target: str,
    labels: Labels,
    original: Labels,
    shadow: Labels,
    here: list[Policy],
    elsewhere: list[Policy],
    ports: tuple[tuple[int, str], ...],
    connections: tuple[tuple[dict[str, Any], int], ...],
) -> tuple[list[Policy], tuple[Problem, ...]]:
    """The NetworkPolicies a target needs, sorted by name; none where no policy concerns it.

    target: `names.target_id`. labels: put on each policy.
    original: labels of an original without ours; shadow: of a quiet shadow, ours included.
    here, elsewhere: policies of this and of other namespaces that are not ours. ports: number and protocol of the container's ports.
    connections: NetworkPolicyPeer and TCP port of each connection that carriers send to.
    Problems: NetworkPolicyElsewhere, for each policy of another namespace that admits the original and not the shadow.

    Peers by `namespaceSelector` are judged by the one label every namespace has, kubernetes.io/metadata.name.
    """
    view = _View(namespace, original, shadow, {names.TARGET: target})
    made: list[Policy] = []

    def make(name: str, pods: dict[str, Any], rules: dict[Direction, list[dict[str, Any]]], source: str = "") -> None:
        metadata = {"name": names.fit(f"{target}-{name}", 63), "namespace": namespace, "labels": labels}
        spec: dict[str, Any] = {"podSelector": pods, "policyTypes": list(rules)} | {_RULES[d]: r for d, r in rules.items()}
        annotated = metadata | ({"annotations": {COPIED_FROM: source}} if source else {})
        made.append({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": annotated, "spec": spec})

    for policy in here:
        name, of_policy = _name(policy), directions(policy)
        if selects(policy, original) and not selects(policy, shadow):
            make(f"same.{name}", view.shadows, {d: [view.widened(r, d) for r in _rules(policy, d)] for d in of_policy}, name)
        if missed := {d: rules for d in of_policy if (rules := list(view.missed(policy, d)))}:
            make(f"peer.{name}", _spec(policy).get("podSelector") or {}, missed, name)
    freed = {d for d in _DIRECTIONS if isolated(here, shadow, d) and not isolated(here, original, d)}
    for direction in sorted(freed):
        make(f"open-{_RULES[direction]}", view.shadows, {direction: [{}]})
    numbers = [{"port": port, "protocol": protocol} for port, protocol in sorted(set(ports))]
    carriers = {"matchLabels": {names.CARRIER: target}}
    if numbers and isolated(here, original, "Ingress"):
        make("from-carriers", view.shadows, {"Ingress": [{"from": [{"podSelector": carriers}], "ports": numbers}]})
    if isolated(here, original, "Egress"):
        rules = [{"to": [{"podSelector": view.shadows}], "ports": numbers}] if numbers else []
        for peer, port in connections:
            rule = {"to": [peer], "ports": [{"port": port, "protocol": "TCP"}]}
            if rule not in rules:
                rules.append(rule)
        if rules:
            make("from-carriers-egress", carriers, {"Egress": rules})
    return sorted(made, key=_name), tuple(sorted(p for policy in elsewhere for p in view.problems(policy)))


def selects(policy: Policy, labels: Labels) -> bool:
    """Whether the policy's podSelector picks a Pod of its namespace with `labels`; an absent one picks every Pod."""
    return matches(_spec(policy).get("podSelector") or {}, labels)


def directions(policy: Policy) -> tuple[Direction, ...]:
    """Its policyTypes; absent they are Ingress, and Egress if it has egress rules (NetworkPolicySpec, API reference)."""
    spec = _spec(policy)
    types = spec.get("policyTypes") or ("Ingress", "Egress" if spec.get("egress") else "")
    return tuple(d for d in _DIRECTIONS if d in types)


def isolated(policies: list[Policy], labels: Labels, direction: Direction) -> bool:
    """Whether a Pod with `labels` only gets, or only sends, what some policy allows."""
    return any(direction in directions(p) and selects(p, labels) for p in policies)


def _name(policy: Policy) -> str:
    return str(policy["metadata"]["name"])


def _spec(policy: Policy) -> dict[str, Any]:
    return policy.get("spec") or {}


def _rules(policy: Policy, direction: Direction) -> list[dict[str, Any]]:
    rules = _spec(policy).get(_RULES[direction]) or ()
    return [rule or {} for rule in rules]


def _explicit(rule: dict[str, Any]) -> dict[str, Any]:
    """The rule with a protocol on every port; the API server would add TCP and make a difference for ever."""
    return rule | ({"ports": [{"protocol": "TCP"} | p for p in rule["ports"]]} if rule.get("ports") else {})


class _View:
    """How policies see the original and its shadow as peers."""

    __slots__ = ("namespace", "original", "shadow", "shadows")

    def __init__(self, namespace: str, original: Labels, shadow: Labels, own: Labels) -> None:
        self.namespace, self.original, self.shadow = namespace, original, shadow
        self.shadows = {"matchLabels": own}

    def _sees(self, peer: dict[str, Any], outside: bool, labels: Labels) -> bool:
        spaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        if spaces is None and (outside or pods is None):  # an ipBlock, or Pods of another namespace
            return False
        return (spaces is None or matches(spaces, {_NAMESPACE_NAME: self.namespace})) and (pods is None or matches(pods, labels))

    def _misses_shadow(self, rule: dict[str, Any], direction: Direction, outside: bool) -> bool:
        peers = rule.get(_PEERS[direction]) or []
        return any(self._sees(p, outside, self.original) for p in peers) and not any(self._sees(p, outside, self.shadow) for p in peers)

    def widened(self, rule: dict[str, Any], direction: Direction) -> dict[str, Any]:
        """The rule, with the shadows as a further peer where it names the original: what originals may say to each other, shadows may."""
        key = _PEERS[direction]
        missing = self._misses_shadow(rule, direction, outside=False)
        return _explicit(rule | ({key: [*rule[key], {"podSelector": self.shadows}]} if missing else {}))

    def missed(self, policy: Policy, direction: Direction) -> Iterator[dict[str, Any]]:
        """For each rule that names the original and not the shadow, the same ports with the shadows as the peer."""
        for rule in _rules(policy, direction):
            if self._misses_shadow(rule, direction, outside=False):
                ports = {"ports": rule["ports"]} if rule.get("ports") else {}
                yield _explicit({_PEERS[direction]: [{"podSelector": self.shadows}], **ports})

    def problems(self, policy: Policy) -> Iterator[Problem]:
        """What to add to a policy of another namespace."""
        own = ", ".join(f"{k}: {v}" for k, v in self.shadows["matchLabels"].items())
        peer = f"{{namespaceSelector: {{matchLabels: {{{_NAMESPACE_NAME}: {self.namespace}}}}}, podSelector: {{matchLabels: {{{own}}}}}}}"
        for direction in directions(policy):
            for number, rule in enumerate(_rules(policy, direction)):
                if self._misses_shadow(rule, direction, outside=True):
                    field = f"spec.{_RULES[direction]}[{number}].{_PEERS[direction]}"
                    place = f"NetworkPolicy {policy['metadata'].get('namespace', '')}/{_name(policy)}, {field}"
                    verb = "lets the original in" if direction == "Ingress" else "lets Pods reach the original"
                    yield Problem(
                        "NetworkPolicyElsewhere", place, f"it {verb} by its labels and not its shadow", f"Add to {field}: - {peer}"
                    )

"""Checks of what stands around the Pods: autoscalers, budgets, quotas, Services, names, image policies. Each yields Problems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from generator.cluster import quantity, selectors
from generator.cluster.endpoints import publishes_unready
from generator.cluster.ports import undeclared
from generator.cluster.snapshot import Obj, controller_of, is_ours, key_of, labels_of
from generator.cluster.workload import ips_of
from generator.desired.case import Case
from generator.errors import Problem


def autoscaler(case: Case) -> Iterator[Problem]:
    """Autoscalers of the target, which will see idle carriers."""
    for hpa in case.space.all("HorizontalPodAutoscaler"):
        ref = hpa["spec"].get("scaleTargetRef") or {}
        if (ref.get("kind"), ref.get("name")) == (case.workload.kind, case.workload.name):
            low, high = hpa["spec"].get("minReplicas", 1), hpa["spec"].get("maxReplicas")
            sees = f"HorizontalPodAutoscaler {hpa['metadata']['name']} ({low} to {high}) will see idle carriers"
            message = f"{sees}; shadows stay as many as the originals were"
            yield case.problem("Autoscaler", message, "Raise minReplicas if fewer originals matter.")


def budgets(case: Case) -> Iterator[Problem]:
    """PodDisruptionBudgets that count the originals."""
    watching = (w for o in case.live for w in case.space.watchers.matching(labels_of(o.pod)))
    for name in sorted({w["metadata"]["name"] for w in watching if w["kind"] == "PodDisruptionBudget"}):
        message = f"PodDisruptionBudget {name} counts held originals as unhealthy for the seconds of the swap"
        yield case.problem("DisruptionBudget", message, "Nothing to do; a drain at that moment waits.")


def quota(case: Case) -> Iterator[Problem]:
    """ResourceQuotas without room for the Pods that would be made now; scoped quotas are left out."""
    new = [pod for name, pod in case.needed.items() if case.space.get("Pod", name) is None]
    for q in case.space.all("ResourceQuota"):
        if q.get("spec", {}).get("scopes") or q.get("spec", {}).get("scopeSelector"):
            continue
        hard, used = q.get("status", {}).get("hard") or q["spec"].get("hard") or {}, q.get("status", {}).get("used") or {}
        for resource, limit in sorted(hard.items()):
            asked = sum((_asks(pod["spec"], resource) for pod in new), start=Fraction(0))
            room = quantity.parse(limit) - quantity.parse(used.get(resource, "0"))
            if asked > room:
                left = f"ResourceQuota {q['metadata']['name']}: {resource} has room for {quantity.text(room)}"
                message = f"{left}, {len(new)} Pods of ours need {quantity.text(asked)}"
                cure = f"Raise {resource} to {quantity.text(quantity.parse(limit) + asked - room)}, or scale down."
                yield case.problem("QuotaExceeded", message, cure)


def _asks(spec: Obj, resource: str) -> Fraction:
    if resource in ("pods", "count/pods"):
        return Fraction(1)
    part, _, what = resource.partition(".") if resource.startswith(("requests.", "limits.")) else ("requests", "", resource)
    if what not in ("cpu", "memory", "ephemeral-storage"):
        return Fraction(0)
    amounts = []
    for c in spec["containers"]:
        r = c.get("resources") or {}
        amounts.append(quantity.parse((r.get(part) or {}).get(what) or (r.get("limits") or {}).get(what) or "0"))
    return sum(amounts, start=Fraction(0))


def services(case: Case) -> Iterator[Problem]:
    """Services that cannot be drained or seen, and ports that cannot be carried or told whose they are."""
    for s in case.services:
        name = s["metadata"]["name"]
        if publishes_unready(s):
            yield case.problem(
                "ServicePublishesNotReady",
                f"Service {name} has publishNotReadyAddresses: a held original stays in it",
                "Expect refused connections through it during the swap.",
            )
        elif name not in case.space.slices:
            yield case.problem(
                "SnapshotIncomplete",
                f"Service {name} has no EndpointSlice in the stream, so nobody can see who serves",
                "Record EndpointSlices with the rest.",
            )
    for r in case.revisions:
        for name, port in undeclared(r.spec, case.services):
            yield case.problem(
                "PortUndeclared",
                f"Service {name} sends to port {port}, which no container declares",
                "Declare the port in the container that listens on it.",
            )
    for claim in case.claims.values():
        for p in claim.ports:
            if p.protocol not in ("TCP", "UDP"):
                yield case.problem(
                    "PortUnsupported",
                    f"port {p.number} is {p.protocol}, which nginx cannot carry",
                    "Bridge a container without it.",
                    f"container {claim.container}",
                )


def names(case: Case) -> Iterator[Problem]:
    """Objects of somebody else under the names we need."""
    for name, obj in sorted(case.needed.items()):
        live = case.space.get(obj["kind"], name)
        if live is not None and not is_ours(live):
            yield case.problem("NameClash", f"{key_of(live)} is not ours and has the name we need", "Rename or delete it.")


def policy(case: Case) -> Iterator[Problem]:
    """Hints that an image policy may refuse the carrier image."""
    namespace = case.snapshot.cluster.get(("Namespace", case.workload.namespace)) or {"metadata": {}}
    hints = [
        f"namespace label {k}: {v}" for k, v in sorted(labels_of(namespace).items()) if k == "policy.sigstore.dev/include" and v == "true"
    ]
    hints += [f"{key_of(o)} verifies images" for o in _image_rules(case)]
    for hint in hints:
        images = ", ".join(sorted(set(case.images.values())))
        yield case.problem(
            "ImagePolicy",
            f"{hint}; it may refuse {images}",
            "Sign or allow the image; a stand-in shows it before a live container is touched.",
        )


def _image_rules(case: Case) -> Iterable[Obj]:
    policies = [*case.space.all("Policy"), *(o for (kind, _), o in case.snapshot.cluster.items() if kind == "ClusterPolicy")]
    return [o for o in policies if any("verifyImages" in rule for rule in o.get("spec", {}).get("rules") or ())]


def orphans(case: Case) -> Iterator[Problem]:
    """Pods the workload's selector matches but whose controller is missing: half a snapshot."""
    selector = (case.workload.obj or {}).get("spec", {}).get("selector")
    if case.workload.kind != "Deployment" or not selector:
        return
    for pod in case.space.orphans:
        ref = controller_of(pod)
        if ref and selectors.matches(selector, labels_of(pod)):
            message = f"Pod {pod['metadata']['name']} is controlled by {ref['kind']} {ref['name']}, which is not in the stream"
            yield case.problem("SnapshotIncomplete", message, "Record ReplicaSets with the rest.")


def exposure(case: Case) -> Iterator[Problem]:
    """Pods that nobody can be kept away from, and Services that the slices speak of and that are not there."""
    if case.live and not case.services:
        message = "no Service selects its Pods; whoever connects to their own addresses meets the restart"
        yield case.problem("NoService", message, "Expect refused connections for about a second per Pod.")
    addresses = {ip for o in case.every for ip in ips_of(o.pod)}
    for name in sorted({name for ip in addresses for name in case.space.missing_services.get(ip, ())}):
        yield case.problem(
            "SnapshotIncomplete", f"an EndpointSlice names Service {name}, which is not in the stream", "Record Services with the rest."
        )
    said = ((case.workload.obj or {}).get("status") or {}).get("readyReplicas")
    if said and not case.every:
        yield case.problem(
            "SnapshotIncomplete", f"its status has {said} ready Pods and none is in the stream", "Record Pods with the rest."
        )


def nobody(case: Case) -> Iterator[Problem]:
    """A target without a ready Pod, unless the stream is what lacks it."""
    if not case.live and not any(p.code == "SnapshotIncomplete" for check in (orphans, exposure) for p in check(case)):
        yield case.problem("NoReadyPods", "has no ready Pod", "Scale it up or mend it; it is bridged when a Pod is ready.")

"""A workload and what is asked of it -> everything Kubernetes or the target cannot bear, before a Pod is touched.

Each check is one small function over the facts; the register in `codes.py` says what is refused and what only warned of.
Checks look at the Pods as they were before us, so that what we did ourselves is never held against the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from carrier2 import contract
from generator.asked.admission import Claim
from generator.cluster import quantity, selectors
from generator.cluster.endpoints import publishes_unready
from generator.cluster.ports import undeclared
from generator.cluster.snapshot import Obj, Snapshot, Space, annotations_of, controller_of, is_ours, key_of, labels_of
from generator.cluster.workload import Original, Workload, ips_of, trouble
from generator.desired.revisions import Revision
from generator.errors import Problem

MESH_PROXIES = ("istio-proxy", "linkerd-proxy", "consul-dataplane", "kuma-sidecar", "envoy-sidecar")


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks look at. live: Pods that can be acted on, with their revisions; all: every Pod of the workload."""

    snapshot: Snapshot
    workload: Workload
    claims: Mapping[str, Claim]
    every: tuple[Original, ...]
    live: tuple[Original, ...]
    revisions: tuple[Revision, ...]
    services: tuple[Obj, ...]
    images: Mapping[str, str]
    needed: Mapping[str, Obj]

    @property
    def space(self) -> Space:
        """The workload's namespace."""
        return self.snapshot.space(self.workload.namespace)

    def problem(self, code: str, message: str, cure: str, at: str = "") -> Problem:
        """A problem of the workload, or of what stands below it."""
        return Problem(code, f"{self.workload}{' ' + at if at else ''}", message, cure)


def preflight(case: Case) -> tuple[Problem, ...]:
    """Every problem, sorted."""
    return tuple(sorted({p for check in CHECKS for p in check(case)}))


def concerns(problem: Problem, container: str) -> bool:
    """Whether a problem of the workload is one for this container: those of another container are not."""
    _, mark, named = problem.place.partition(" container ")
    return not mark or named == container


def _rollout(case: Case) -> Iterator[Problem]:
    obj = case.workload.obj or {}
    if obj.get("metadata", {}).get("deletionTimestamp"):
        yield case.problem("WorkloadDeleting", "is being deleted", "Nothing to do; the mount waits for a new one.")
    if obj.get("spec", {}).get("paused"):
        yield case.problem(
            "WorkloadPaused", "its rollout is paused", "Nothing to do; Pods of the next revision are bridged when they come."
        )
    for o in case.every:
        at = f"Pod {o.name}"
        if o.gone == "terminating":
            yield case.problem("PodTerminating", "is being deleted and left alone", "Nothing to do.", at)
        elif o.gone == "failed":
            reason = o.pod["status"].get("reason") or o.pod["status"]["phase"]
            yield case.problem("PodFailed", f"has failed ({reason}) and is left alone", "Delete it when you have read why.", at)
        elif case.live and (why := o.gone and trouble(o.pod, case.snapshot.now)):
            yield case.problem("RolloutStuck", f"never became ready ({why})", "Mend the rollout; the Pod is bridged once it is ready.", at)
    if not case.live and not any(p.code == "SnapshotIncomplete" for check in (_orphans, _exposure) for p in check(case)):
        yield case.problem("NoReadyPods", "has no ready Pod", "Scale it up or mend it; it is bridged when a Pod is ready.")


def _node(case: Case) -> Iterator[Problem]:
    for r in case.revisions:
        spec = r.originals[0].pod["spec"]
        if spec.get("hostNetwork"):
            yield case.problem(
                "HostNetwork",
                "hostNetwork: true; a shadow on the node could not bind the same ports",
                "Bridge a workload without hostNetwork.",
            )
        if spec.get("hostIPC"):
            yield case.problem("HostIPC", "hostIPC: true; /dev/shm would be the node's", "Set hostIPC: false in the workload.")
        if (spec.get("os") or {}).get("name") == "windows" or (spec.get("nodeSelector") or {}).get("kubernetes.io/os") == "windows":
            yield case.problem("WindowsPod", "runs on Windows", "Bridge a Linux workload.")
        for c in spec["containers"]:
            for p in c.get("ports") or ():
                if p.get("hostPort"):
                    message = f"port {p['containerPort']} is hostPort {p['hostPort']} of the node; its shadows are made without it"
                    yield case.problem("HostPort", message, "Nothing to do.", f"container {c['name']}")
        if any(s in MESH_PROXIES for s in (c["name"] for c in (*spec["containers"], *(spec.get("initContainers") or ())))):
            yield case.problem(
                "MeshSidecar",
                "carries a service mesh proxy, which runs in original and shadow",
                "Watch the mesh's telemetry after bridging.",
            )
    for o in case.live:
        if "kubernetes.io/config.mirror" in annotations_of(o.pod):
            yield case.problem("StaticPod", "is the mirror of a static Pod", "Bridge a Pod that the API server owns.", f"Pod {o.name}")


def _commands(case: Case) -> Iterator[Problem]:
    for r in case.revisions:
        for c in r.spec["containers"]:
            claim = case.claims.get(c["name"])
            if claim is None:
                continue
            at, own_image = f"container {c['name']}", bool(claim.mount and claim.mount.carrier_image)
            started = [("command", c["command"][0])] if c.get("command") else []
            probes = [(kind, c[kind]["exec"]["command"][0]) for kind in _EXEC_PLACES if (c.get(kind) or {}).get("exec", {}).get("command")]
            hooks = [
                (f"lifecycle.{hook}", body["exec"]["command"][0])
                for hook in ("postStart", "preStop")
                if (body := (c.get("lifecycle") or {}).get(hook) or {}) and (body.get("exec") or {}).get("command")
            ]
            for field, name in (*started, *probes, *hooks):
                if not own_image and not known_command(name):
                    link = name if name.startswith("/") else f"/usr/local/bin/{name}"
                    image = case.images[c["name"]]
                    message = f"{field} {name!r} is no name of {image}"
                    build = f"Build `FROM {image}` + `RUN ln -s /carrier2/carrier2 {link}`"
                    cure = f"{build}, and name it in the mount's providerParameter.carrierImage."
                    yield case.problem("CommandUnknown", message, cure, at)
            for kind, _ in probes:
                yield case.problem(
                    "ExecProbe",
                    f"{kind} runs a command; while bridged it says how the carrier is",
                    "Prefer httpGet, tcpSocket or grpc.",
                    at,
                )
            if c.get("imagePullPolicy") == "Never":
                yield case.problem(
                    "ImagePolicy",
                    "imagePullPolicy: Never; the carrier image must be on the node already",
                    f"Load {case.images[c['name']]} on the nodes.",
                    at,
                )


_EXEC_PLACES = ("startupProbe", "readinessProbe", "livenessProbe")


def known_command(name: str) -> bool:
    """Whether the carrier image has a link of that name: one of its own names, bare or in a folder of its PATH."""
    folder, _, base = name.rpartition("/")
    return base in contract.COMMANDS and (not folder or folder in contract.COMMAND_DIRS) and not (name.startswith("/") and not folder)


def _volumes(case: Case) -> Iterator[Problem]:
    for r in case.revisions:
        allowed = any(claim.allow_shared_volumes for claim in case.claims.values())
        for claim, read_only in claims_of(r.originals[0].pod["spec"]):
            pvc = case.space.get("PersistentVolumeClaim", claim)
            if pvc is None:
                yield case.problem(
                    "SnapshotIncomplete",
                    f"PersistentVolumeClaim {claim} is not in the stream",
                    "Record PersistentVolumeClaims with the rest.",
                )
                continue
            modes = pvc["spec"].get("accessModes") or ()
            if "ReadWriteOncePod" in modes:
                yield case.problem(
                    "ReadWriteOncePod",
                    f"claim {claim} is ReadWriteOncePod: no second Pod can mount it",
                    "Use ReadWriteOnce with allowSharedVolumes.",
                )
            elif allowed or read_only:
                continue
            elif case.workload.kind == "StatefulSet" and _templated(case, claim):
                message = f"claim {claim} belongs to one Pod of the StatefulSet; its shadow would be a second {r.originals[0].name}"
                yield case.problem("SharedIdentity", message, "If it bears two writers: providerParameter.allowSharedVolumes: true.")
            elif "ReadWriteOnce" in modes:
                message = f"claim {claim} is ReadWriteOnce and a shadow would write to it too"
                yield case.problem("SharedVolume", message, "If it bears two writers: providerParameter.allowSharedVolumes: true.")


def claims_of(spec: Obj) -> list[tuple[str, bool]]:
    """(claim name, read only) of each PersistentVolumeClaim a Pod spec mounts."""
    found = []
    for volume in spec.get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            mounts = [m for c in spec["containers"] for m in c.get("volumeMounts") or () if m["name"] == volume["name"]]
            found.append((claim["claimName"], bool(claim.get("readOnly")) or all(m.get("readOnly") for m in mounts)))
    return found


def _templated(case: Case, claim: str) -> bool:
    templates = (case.workload.obj or {}).get("spec", {}).get("volumeClaimTemplates") or ()
    return any(claim.startswith(f"{t['metadata']['name']}-{case.workload.name}-") for t in templates)


def _autoscaler(case: Case) -> Iterator[Problem]:
    for hpa in case.space.all("HorizontalPodAutoscaler"):
        ref = hpa["spec"].get("scaleTargetRef") or {}
        if (ref.get("kind"), ref.get("name")) == (case.workload.kind, case.workload.name):
            low, high = hpa["spec"].get("minReplicas", 1), hpa["spec"].get("maxReplicas")
            sees = f"HorizontalPodAutoscaler {hpa['metadata']['name']} ({low} to {high}) will see idle carriers"
            message = f"{sees}; shadows stay as many as the originals were"
            yield case.problem("Autoscaler", message, "Raise minReplicas if fewer originals matter.")


def _budgets(case: Case) -> Iterator[Problem]:
    for pdb in case.space.all("PodDisruptionBudget"):
        if any(selectors.matches(pdb["spec"].get("selector"), labels_of(o.pod)) for o in case.live):
            message = f"PodDisruptionBudget {pdb['metadata']['name']} counts held originals as unhealthy for the seconds of the swap"
            yield case.problem("DisruptionBudget", message, "Nothing to do; a drain at that moment waits.")


def _quota(case: Case) -> Iterator[Problem]:
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


def _services(case: Case) -> Iterator[Problem]:
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


def _names(case: Case) -> Iterator[Problem]:
    for name, obj in sorted(case.needed.items()):
        live = case.space.get(obj["kind"], name)
        if live is not None and not is_ours(live):
            yield case.problem("NameClash", f"{key_of(live)} is not ours and has the name we need", "Rename or delete it.")


def _policy(case: Case) -> Iterator[Problem]:
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
            "Sign or allow the image; the rehearsal shows it before a live container is touched.",
        )


def _image_rules(case: Case) -> Iterable[Obj]:
    policies = [*case.space.all("Policy"), *(o for (kind, _), o in case.snapshot.cluster.items() if kind == "ClusterPolicy")]
    return [o for o in policies if any("verifyImages" in rule for rule in o.get("spec", {}).get("rules") or ())]


def _orphans(case: Case) -> Iterator[Problem]:
    """Pods the workload's selector matches but whose controller is missing: half a snapshot."""
    selector = (case.workload.obj or {}).get("spec", {}).get("selector")
    if case.workload.kind != "Deployment" or not selector:
        return
    for pod in case.space.all("Pod"):
        ref = controller_of(pod)
        if ref and case.space.get(ref["kind"], ref["name"]) is None and selectors.matches(selector, labels_of(pod)):
            message = f"Pod {pod['metadata']['name']} is controlled by {ref['kind']} {ref['name']}, which is not in the stream"
            yield case.problem("SnapshotIncomplete", message, "Record ReplicaSets with the rest.")


def _apart(case: Case) -> Iterator[Problem]:
    """Required anti-affinity that keeps a Pod away from its own siblings keeps its shadow away from all of them."""
    for r in case.revisions:
        labels = labels_of(r.originals[0].pod)
        rules = ((r.spec.get("affinity") or {}).get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        if any(selectors.matches(rule.get("labelSelector"), labels) for rule in rules):
            message = "required podAntiAffinity: each shadow needs a node without a Pod of the target"
            yield case.problem("AntiAffinity", message, "Have enough nodes, or make it preferred.")


def _exposure(case: Case) -> Iterator[Problem]:
    """Pods that nobody can be kept away from, and Services that the slices speak of and that are not there."""
    if case.live and not case.services:
        message = "no Service selects its Pods; whoever connects to their own addresses meets the restart"
        yield case.problem("NoService", message, "Expect refused connections for about a second per Pod.")
    known = {s["metadata"]["name"] for s in case.space.by_kind.get("Service", ())}
    addresses = {ip for o in case.every for ip in ips_of(o.pod)}
    for name, pieces in sorted(case.space.slices.items()):
        found = {a for piece in pieces for e in piece.get("endpoints") or () for a in e.get("addresses") or ()}
        if name not in known and found & addresses:
            yield case.problem(
                "SnapshotIncomplete", f"an EndpointSlice names Service {name}, which is not in the stream", "Record Services with the rest."
            )
    said = ((case.workload.obj or {}).get("status") or {}).get("readyReplicas")
    if said and not case.every:
        yield case.problem(
            "SnapshotIncomplete", f"its status has {said} ready Pods and none is in the stream", "Record Pods with the rest."
        )


def _marks(case: Case) -> Iterator[Problem]:
    """Pods that run a carrier of ours without the note of what they ran before."""
    ours = {case.snapshot.carrier_image, *case.images.values()}
    for o in case.every:
        for c in o.containers.values():
            if c.image in ours and not c.carried:
                note = f"annotation original-image.bascule.dev/{c.name}: IMAGE"
                yield case.problem(
                    "MarksLost", f"runs {c.image} and its {note} is gone", f"Put back the {note}, or delete the Pod.", f"Pod {o.name}"
                )


CHECKS = (
    _rollout,
    _node,
    _commands,
    _volumes,
    _autoscaler,
    _budgets,
    _quota,
    _services,
    _names,
    _policy,
    _orphans,
    _apart,
    _exposure,
    _marks,
)

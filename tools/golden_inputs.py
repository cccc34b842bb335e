"""Write the README.md and input.yaml of the golden cases that are built rather than recorded.

    python tools/golden_inputs.py            all of them; then `make golden`, and read `git diff golden/`

A recorded case is a folder whose input was put there by hand; this tool leaves it alone. A phase is the snapshot an operator
sees N rounds after a change, taken from the simulated cluster, so that a reader can browse an install as documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from generator import names
from generator.cluster.snapshot import OUR_KINDS, Obj, key_of
from generator.cluster.times import after
from generator.desired.facts import PATIENCE
from generator.simulate import settle, world
from generator.text.reading import write_yaml
from tests import kube
from tests.kube import NOW, bridge, client, container, deployment, header, mount, path, pod, rule, service, workload

GOLDEN = Path(__file__).parents[1] / "golden"
NODE: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1", "uid": "node1"}}


class Case(NamedTuple):
    """A case: title, intent in a line, objects or raw text, and the time."""

    title: str
    intent: str
    objects: list[Obj] | str
    now: str = NOW


CASES: dict[str, Callable[[], Case]] = {}


def case(name: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Register a case."""

    def register(make: Callable[[], Case]) -> Callable[[], Case]:
        CASES[name] = make
        return make

    return register


def settled(objects: Iterable[Obj], now: str = NOW) -> list[Obj]:
    """The objects with the EndpointSlices a cluster would have."""
    return list(settle(world(objects), now).values())


def rounds(objects: Iterable[Obj], count: int, now: str = NOW) -> tuple[list[Obj], str]:
    """What is there after some rounds of an operator."""
    state, now = kube.rounds(objects, count, now)
    return list(state.values()), now


def without(objects: Iterable[Obj], *names: str) -> list[Obj]:
    """The objects without the bridges and mounts of these names."""
    return [o for o in objects if key_of(o).kind not in OUR_KINDS.values() or o["metadata"]["name"] not in names]


# --- the RFC's example: workload Y with three Pods, Service Y, john by path and header, anna by header


def rfc_workload(revision: str = "1", image: str = "localhost/echo:1") -> list[Obj]:
    """Workload Y and Service Y."""
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}
    app = {**container("app", image), "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}], "readinessProbe": probe}
    return [NODE, *deployment("y", {"app": "y"}, [app], 3, 1, "default", revision), service("y", {"app": "y"}, 80, "http", "default")]


def rfc() -> list[Obj]:
    """The RFC's example before anything has happened."""
    anna = bridge("anna", "y", [rule(header("owner", "anna"))], client="anna", endpoint="10.96.200.1:10000")
    john = bridge("john", "y", [rule(path("/api/objects/5"), header("owner", "john"))], client="john", endpoint="10.96.200.2:10001")
    return [*rfc_workload(), mount("y", "deployment/y", "app", "default"), anna, john]


INTENTS_IN = {
    "create": "Workload Y with three Pods, two users; the shadows, Service Y' and the stand-in are made.",
    "confirm": "Shadows and stand-in run: the configuration can be written, and the stand-in confirms it.",
    "join": "The stand-in is ready: it enters the Service's endpoints.",
    "hold": "The endpoints list the stand-in: the originals are held, out of the endpoints.",
    "drain": "No endpoint lists an original any more: the time since when is noted.",
    "swap": "The proxies have had their time: the image is swapped.",
    "release": "The carriers run and are ready: they confirm the configuration and are released into the endpoints.",
    "leave": "The originals serve: the stand-in leaves the Service.",
    "settle": "No endpoint lists the stand-in any more: the time since when is noted.",
    "dismiss": "The proxies have had their time: the stand-in is deleted.",
}
RESTED = ("dismiss", "delete", "done")
"""Phases after a stand-in's rest, which lasts a round in which nothing changes."""
INSTALLED = len(INTENTS_IN) + 1
"""Rounds after which an install is done."""
NUMBERS_IN = {name: n + (name in ("release", "leave", "settle", "dismiss")) for n, name in enumerate(INTENTS_IN, 1)}
"""07 is `deliver`, between swap and release."""


def _phase_in(number: int, name: str) -> Callable[[], Case]:
    return lambda: Case(f"Install, round {number + 1}: {name}", INTENTS_IN[name], *rounds(rfc(), number + (name in RESTED)))


for _number, _name in enumerate(INTENTS_IN):
    CASES[f"rfc-{NUMBERS_IN[_name]:02d}-{_name}"] = _phase_in(_number, _name)


def active() -> tuple[list[Obj], str]:
    """The RFC's example, installed."""
    return rounds(rfc(), INSTALLED)


@case("rfc-07-deliver")
def _deliver() -> Case:
    objects, now = rounds(rfc(), 6)
    held = [o for o in objects if o["kind"] == "Pod" and o["metadata"].get("labels", {}).get("bascule.dev/held")]
    waiting = [
        {**o, "status": {**o["status"], "containerStatuses": [{**c, "ready": False} for c in o["status"]["containerStatuses"]]}}
        if o in held
        else o
        for o in objects
    ]
    return Case(
        "Install, between swap and release: deliver",
        "The carriers run but their probes fail until they have a configuration: it is delivered while they are held.",
        waiting,
        now,
    )


@case("rfc-12-active")
def _active() -> Case:
    return Case("Installed", "Everything is as desired: there is nothing to do.", *active())


@case("rfc-13-rule-change")
def _rule_change() -> Case:
    objects, now = active()
    changed = [
        {**o, "providerParameter": {"rules": [rule(path("/api/objects"), header("owner", "john"))]}}
        if o["metadata"]["name"] == "john"
        else o
        for o in objects
    ]
    return Case("Rule change", "John widens his path: one ConfigMap changes, three carriers are told, nothing restarts.", changed, now)


@case("rfc-14-one-bridge-removed")
def _one_removed() -> Case:
    objects, now = active()
    return Case("One bridge removed", "Anna goes: John's bridge stays, nothing restarts.", without(objects, "anna"), now)


def _removed() -> tuple[list[Obj], str]:
    objects, now = active()
    return without(objects, "anna", "john", "y"), now


def _round_after(objects: list[Obj], now: str) -> tuple[list[Obj], str]:
    return rounds(objects, 1, now)


INTENTS_OUT = {
    "wait": "The last bridge and the mount are gone: a stand-in is made, and the carriers note since when they wait for it.",
    "confirm": "The stand-in runs: it confirms the configuration, which bridges nobody any more.",
    "join": "The stand-in is ready: it enters the Service's endpoints.",
    "hold": "The endpoints list the stand-in: the carriers are held.",
    "drain": "No endpoint lists a carrier: the time since when is noted.",
    "swap": "The proxies have had their time: the application's image returns.",
    "release": "The application runs again and is ready: it is released.",
    "leave": "The originals are in the endpoints again: every mark of ours comes off them, and the stand-in leaves.",
    "settle": "No endpoint lists the stand-in any more: the time since when is noted.",
    "dismiss": "The proxies have had their time: the stand-in is deleted.",
    "delete": "Nobody sends anything to the shadows any more: everything of ours is deleted.",
    "done": "The cluster is as it was before the first bridge.",
}


def _phase_out(number: int, name: str) -> Callable[[], Case]:
    def make() -> Case:
        objects, now = _removed()
        return Case(f"Restore, round {number + 1}: {name}", INTENTS_OUT[name], *rounds(objects, number + (name in RESTED), now))

    return make


for _number, _name in enumerate(INTENTS_OUT):
    CASES[f"rfc-{_number + 20:02d}-restore-{_name}"] = _phase_out(_number, _name)


@case("rfc-32-restore-one-by-one")
def _one_by_one() -> Case:
    objects, now = _round_after(*_removed())
    stuck = [
        {**o, "status": {"phase": "Pending", "containerStatuses": [waiting_for("ImagePullBackOff", "no such image")]}}
        if o["kind"] == "Pod" and "-stand-in-" in o["metadata"]["name"]
        else o
        for o in objects
    ]
    return Case(
        "Restore without a stand-in",
        "The carrier image cannot be pulled any more: after a minute the originals go one by one, and the others serve.",
        settled(stuck, after(now, PATIENCE)),
        after(now, PATIENCE),
    )


@case("rfc-40-rollout-during-bridge")
def _rollout() -> Case:
    objects, now = active()
    new = [o for o in rfc_workload("2", "localhost/echo:2") if o["kind"] in ("Pod", "ReplicaSet", "Deployment")]
    leaving = [
        {**o, "metadata": {**o["metadata"], "deletionTimestamp": now, "deletionGracePeriodSeconds": 30}}
        if o["kind"] == "Pod" and o["metadata"]["labels"].get("app") == "y" and "bascule.dev/carrier" in o["metadata"]["labels"]
        else o
        for o in objects
        if o["kind"] != "Deployment"
    ]
    moved = [
        {**o, "status": {**o["status"], "podIP": f"10.244.9.{n}", "podIPs": [{"ip": f"10.244.9.{n}"}]}} if o["kind"] == "Pod" else o
        for n, o in enumerate(new)
    ]
    return Case(
        "Rollout during a bridge",
        "The owner rolls out a new image: new Pods get new shadows and carriers, the old shadows stay until the old Pods are gone.",
        settled([*leaving, *moved], now),
        now,
    )


@case("rfc-44-rollout-begins")
def _rollout_begins() -> Case:
    objects, now = active()
    new = [o for o in rfc_workload("2", "localhost/echo:2") if o["kind"] in ("Pod", "ReplicaSet")][:2]
    starting = [
        {**kube.running(o, "10.244.9.1", ready=False), "metadata": {**o["metadata"], "creationTimestamp": now}} if o["kind"] == "Pod" else o
        for o in new
    ]
    return Case(
        "Rollout during a bridge: a new Pod starts",
        "It is held before any Service knows it: it serves once it is a carrier, so nobody's matching request meets the application in it.",
        [*objects, *starting],
        now,
    )


@case("rfc-41-original-deleted")
def _original_deleted() -> Case:
    objects, now = active()
    victim = next(o for o in objects if o["kind"] == "Pod" and "bascule.dev/carrier" in (o["metadata"].get("labels") or {}))
    return Case(
        "Original deleted",
        "One original is gone: the configuration no longer names its shadow, which stays as a spare, and the others go on.",
        settled([o for o in objects if o is not victim], now),
        now,
    )


@case("rfc-42-target-deleted")
def _target_deleted() -> Case:
    objects, now = active()
    gone = {"Deployment", "ReplicaSet"}
    kept = [o for o in objects if o["kind"] not in gone and not (o["kind"] == "Pod" and o["metadata"]["labels"].get("app") == "y")]
    return Case("Target deleted", "The whole workload is gone: everything of ours goes, the mount says MISSING.", settled(kept, now), now)


@case("rfc-43-hand-edited-shadow")
def _edited() -> Case:
    objects, now = active()
    shadow = next(o for o in objects if o["kind"] == "Pod" and "shadow" in o["metadata"]["name"])
    edited = {**shadow, "metadata": {**shadow["metadata"], "labels": {**shadow["metadata"]["labels"], "app": "y"}}}
    return Case(
        "Shadow edited by hand",
        "Somebody gave a shadow the label that Service Y selects: it is taken off again.",
        settled([edited if o is shadow else o for o in objects], now),
        now,
    )


# --- kinds


def _kind(kind: str, name: str) -> Callable[[], Case]:
    def make() -> Case:
        made = workload(kind, name, {"app": name}, [container("app")], 2, 1)
        objects = [NODE, *made, service(name, {"app": name}), _direct(f"{kind.lower()}/{name}")]
        return Case(f"{kind}", f"A bridge names a {kind} itself; no mount is needed.", settled(objects))

    return make


def _direct(target: str, *rules: Obj, name: str = "alice", **more: Any) -> Obj:
    return bridge(
        name,
        target,
        list(rules) or [rule(header("x-user", "alice"))],
        client=name,
        **{"targetNamespace": "shop", "targetContainer": "app", **more},
    )


for _kind_name in ("StatefulSet", "DaemonSet", "ReplicaSet"):
    CASES[f"kind-{_kind_name.lower()}"] = _kind(_kind_name, "web")


@case("kind-pod")
def _bare() -> Case:
    objects = [NODE, pod("solo", {"app": "solo"}, [container()], "10.244.1.1"), service("solo", {"app": "solo"}), _direct("pod/solo")]
    return Case("Pod", "A bare Pod is bridged like any other.", settled(objects))


# --- rules and carrier, each installed, so that there is an nginx.conf


def web(*controls: Obj, containers: list[Obj] | None = None, replicas: int = 1, extra: Iterable[Obj] = ()) -> list[Obj]:
    """Deployment and Service `web` of namespace shop, with bridges and mounts."""
    return [
        NODE,
        *deployment("web", {"app": "web"}, containers or [container()], replicas, 1),
        service("web", {"app": "web"}),
        *extra,
        *controls,
    ]


def _installed(title: str, intent: str, objects: list[Obj]) -> Case:
    return Case(title, intent, *rounds(objects, INSTALLED))


def by(name: str, *conditions: Obj, port: str = "3000:8080", number: int = 1, **more: Any) -> Obj:
    """A bridge on deployment/web with one rule."""
    rules = [rule(*conditions)] if conditions else []
    return bridge(
        name, "deployment/web", rules, (port,), name, f"10.200.0.{number}:10000", targetNamespace="shop", targetContainer="app", **more
    )


@case("rules-left-nothing")
def _left_nothing() -> Case:
    objects = web(by("alice", path("/api")), later(by("bob", path("^/api/v[0-9]+/cart$", "regex"), number=2)))
    return Case(
        "rules", "Alice's path prefix comes before Bob's path regex, and all he asks for lies below it.", settled(objects, NOW), NOW
    )


@case("rules-kinds")
def _rules() -> Case:
    bridges = [
        by("alice", header("x-user", "alice"), number=1),
        by("bob", path("/api"), {"matchMethod": {"method": "POST"}}, number=2),
        by("carol", {"matchCookie": {"name": "session", "value": "dev-", "type": "prefix"}}, number=3),
        by("dave", {"matchQuery": {"name": "debug", "value": "1"}}, path("/api/orders"), number=4),
        by("erin", header("x-trace", "^[0-9a-f]{8}-dev$", "regex"), number=5),
        by("frank", path("/healthz", "exact"), number=6),
    ]
    return _installed("Every kind of rule", "Path, header, method, query, cookie; exact, prefix, regex; marks before paths.", web(*bridges))


@case("rules-global-bridge")
def _global() -> Case:
    return _installed(
        "Global bridge",
        "A bridge without rules gets what nobody else claims.",
        web(by("alice"), by("bob", header("x-user", "bob"), number=2)),
    )


@case("rules-or-and")
def _or() -> Case:
    both = bridge(
        "alice",
        "deployment/web",
        [rule(path("/a"), header("x-user", "alice")), rule(path("/b", "exact"))],
        endpoint="10.200.0.1:10000",
        targetNamespace="shop",
        targetContainer="app",
    )
    return _installed("Gefyra's rule lists", "A list of rules means OR, a list of conditions in `match` means AND.", web(both))


@case("rules-case-and-quotes")
def _hostile() -> Case:
    values = ("Alice", "alice", 'a"b', "$host", "~.*", "default", "include", "a\\b", "#x; }")
    return _installed(
        "Values that look like nginx",
        "Quotes, variables, keywords and regex marks in a value are just text.",
        web(*(by(f"u{n}", header("x-user", v), number=n + 1) for n, v in enumerate(values))),
    )


@case("rules-connection-unknown")
def _unknown() -> Case:
    alice = {**by("alice", header("x-user", "alice")), "clusterEndpoint": {}}
    return _installed(
        "A bridge whose connection is not known yet",
        "Alice's requests are hers already: the cluster answers them, and Bob, who takes the rest, does not get them.",
        web(alice, by("bob", number=2)),
    )


@case("carrier-fallback-error")
def _fallback() -> Case:
    alice = by("alice", header("x-user", "alice"))
    alice["providerParameter"]["fallback"] = "error"
    return _installed("fallback: error", "Alice wants to see that her process is down instead of an answer from the cluster.", web(alice))


@case("carrier-access-log")
def _access_log() -> Case:
    alice = by("alice", header("x-user", "alice"))
    alice["providerParameter"]["accessLog"] = True
    intent = "Alice wants a line for each request she takes; Bob's, and everybody else's, are not written down."
    return _installed("accessLog", intent, web(alice, by("bob", header("x-user", "bob"), number=2)))


@case("carrier-mirror")
def _mirror() -> Case:
    alice = by("alice", header("x-user", "alice"))
    alice["providerParameter"]["mode"] = "mirror"
    return _installed("mode: mirror", "Alice gets a copy, the cluster answers.", web(alice))


@case("carrier-streams")
def _streams() -> Case:
    app = container("app", ports=(8080, 5432))
    app["ports"].append({"containerPort": 5353, "protocol": "UDP"})
    return _installed(
        "TCP and UDP ports",
        "Ports without rules are passed through untouched.",
        web(by("alice", header("x-user", "alice")), containers=[app]),
    )


def _two_containers() -> list[Obj]:
    containers = [container("app"), container("admin", ports=(9000,)), container("log", ports=())]
    other = bridge(
        "bob",
        "deployment/web",
        [rule(path("/admin"))],
        ("4000:9000",),
        "bob",
        "10.200.0.2:10000",
        targetNamespace="shop",
        targetContainer="admin",
    )
    return web(by("alice", header("x-user", "alice")), other, containers=containers)


@case("carrier-two-containers")
def _two() -> Case:
    intent = "Two containers of a Pod are bridged; they share the shadows, each has its carrier."
    return _installed("Two containers", intent, _two_containers())


@case("stand-in-two-containers")
def _two_stand_in() -> Case:
    intent = "The stand-in has a carrier in each of the two, and the third runs as it is."
    return Case("A stand-in for two containers", intent, settled(_two_containers()))


@case("carrier-http-stays")
def _http_stays() -> Case:
    made = web(mount("web", "deployment/web"), by("alice", header("x-user", "alice")))
    for o in made:
        if o["kind"] == "Service":
            o["spec"]["ports"][0]["name"] = "main"
    objects, now = rounds(made, INSTALLED)
    return Case(
        "The last bridge is gone, the mount stays",
        "Nothing says that the port speaks HTTP but that it has had rules, as the ConfigMap notes: its clients go on speaking HTTP.",
        without(objects, "alice"),
        now,
    )


@case("carrier-tls")
def _tls() -> Case:
    intent = "The mount names a certificate: the port speaks TLS on both sides and routes. No key is in any object."
    of = {"certificate": "tls.crt", "key": "tls.key"}
    return _speaks_tls("TLS port", intent, {k: {"secret": {"namespace": "shop", "name": "web-tls", "key": v}} for k, v in of.items()})


@case("carrier-tls-volume")
def _tls_volume() -> Case:
    intent = "The certificate lies in a volume of the container, where the carrier finds it as the application did."
    return _speaks_tls("TLS port, certificate in a volume", intent, {"certificate": "/tls/tls.crt", "key": "/tls/tls.key"})


def _speaks_tls(title: str, intent: str, sources: Obj) -> Case:
    app = {**container("app", ports=()), "ports": [{"containerPort": 8443, "name": "https", "protocol": "TCP"}]}
    mounted = mount("web", "deployment/web", providerParameter={"tls": {**sources, "sni": "web.shop.example"}})
    alice = bridge("alice", "web", [rule(header("x-user", "alice"))], ("3000:8443",), endpoint="10.200.0.1:10000")
    return _installed(title, intent, web(mounted, alice, containers=[app]))


@case("carrier-connection-service")
def _connection() -> Case:
    relay = service("gefyra-stowaway-proxy-10000", {"gefyra.dev/role": "connection"}, 10000, 10000, "gefyra")
    alice = by("alice", header("x-user", "alice"))
    alice["clusterEndpoint"] = {"8080": "gefyra-stowaway-proxy-10000.gefyra.svc.cluster.local:10000"}
    return _installed(
        "Connection by Service name",
        "Gefyra's provider reports a DNS name; the configuration holds the Service's address.",
        web(relay, alice),
    )


@case("network-policies")
def _policies() -> Case:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    deny = {**kind, "metadata": kube.meta("default-deny"), "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
    let_in = [{"from": [{"podSelector": {"matchLabels": {"role": "gateway"}}}], "ports": [{"port": 8080, "protocol": "TCP"}]}]
    allow = {
        **kind,
        "metadata": kube.meta("web"),
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": let_in},
    }
    from_web = [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432, "protocol": "TCP"}]}]
    database = {
        **kind,
        "metadata": kube.meta("db"),
        "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"], "ingress": from_web},
    }
    return _installed(
        "NetworkPolicies",
        "What let the original in and out lets its shadow in and out, and carriers reach both ends.",
        web(by("alice", header("x-user", "alice")), extra=[namespace, deny, allow, database]),
    )


@case("spare-shadows")
def _spare() -> Case:
    objects, now = rounds(web(by("alice", header("x-user", "alice")), replicas=3), INSTALLED)
    pods = [
        o
        for o in objects
        if o["kind"] == "Pod" and o["metadata"]["labels"].get("app") == "web" and "bascule.dev/carrier" in o["metadata"]["labels"]
    ]
    kept = [o for o in objects if o not in pods[1:]]
    return Case(
        "Scaled down while bridged",
        "An autoscaler saw idle carriers: one original is left, its unmatched traffic is spread over three shadows.",
        settled(kept, now),
        now,
    )


# --- one case for each problem


def problem(code: str, intent: str, objects: list[Obj] | str, now: str = NOW) -> None:
    """A case that shows one problem code."""
    kebab = "".join(f"-{c.lower()}" if c.isupper() and i and not code[i - 1].isupper() else c.lower() for i, c in enumerate(code))
    CASES[f"problem-{kebab}"] = lambda: Case(code, intent, objects if isinstance(objects, str) else settled(objects, now), now)


ALICE = by("alice", header("x-user", "alice"))


def later(obj: Obj) -> Obj:
    """The same, created an hour after the others."""
    return {**obj, "metadata": kube.asked(obj["metadata"]["name"], creationTimestamp="2026-11-24T21:00:00Z")}


def app(**more: Any) -> list[Obj]:
    """One container with more fields."""
    return [{**container(), **more}]


def spec(**more: Any) -> list[Obj]:
    """Deployment web whose Pods have more fields in their spec."""
    return [{**o, "spec": {**o["spec"], **more}} if o["kind"] == "Pod" else o for o in web(ALICE)]


def claim(mode: str) -> Obj:
    """A PersistentVolumeClaim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": kube.meta("data"),
        "spec": {"accessModes": [mode]},
        "status": {"phase": "Bound"},
    }


def with_claim(mode: str) -> list[Obj]:
    """Deployment web with a volume."""
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    return [
        {**o, "spec": {**o["spec"], "volumes": volumes}} if o["kind"] == "Pod" else o
        for o in web(ALICE, containers=app(**mounts), extra=[claim(mode)])
    ]


def text(*controls: Obj, more: str = "") -> str:
    """Raw YAML: Deployment web, then what is given."""
    return write_yaml(settled(web(*controls))) + more


BRIDGE = """---
apiVersion: gefyra.dev/v1
kind: GefyraBridge
metadata:
  name: alice
  namespace: gefyra
targetNamespace: shop
target: deployment/web
portMappings: ["3000:8080"]
"""

problem("YamlSyntax", "A quote is never closed.", text(more=BRIDGE + 'client: "alice\n'))
problem("DuplicateKey", "`target` is there twice.", text(more=BRIDGE + "target: deployment/other\n"))
problem("AmbiguousScalar", "`on` is true in YAML 1.1 and a string in YAML 1.2.", text(more=BRIDGE + "client: on\n"))
problem("NotAnObject", "A document has no kind.", text(more="---\nname: alice\n"))
problem("DuplicateObject", "The same bridge twice, with different content.", text(more=BRIDGE + BRIDGE + "client: alice\n"))
problem("WrongType", "portMappings is a string.", text(more=BRIDGE.replace('["3000:8080"]', '"3000:8080"')))
problem("UnknownField", "A field is misspelt.", text(more=BRIDGE + "targetContaner: app\n"))
problem("BadTime", "sunset is not RFC 3339.", text(more=BRIDGE + "sunset: tomorrow\n"))
problem("TargetUnknown", "The workload's name is misspelt.", web({**ALICE, "target": "deployment/wbe"}))
problem(
    "SnapshotIncomplete",
    "The ReplicaSet between Deployment and Pods was not recorded.",
    [o for o in web(ALICE) if o["kind"] != "ReplicaSet"],
)
problem("RuleInvalid", "A path without its leading slash.", web(by("alice", path("api"))))
problem("RegexUnsupported", "A regex with a look-ahead.", web(by("alice", header("x-user", "^(?=a)b", "regex"))))
problem("RuleNeverFires", "One header cannot have two values.", web(by("alice", header("x-user", "a"), header("x-user", "b"))))
problem(
    "RuleIdentical",
    "Bob asks for what Alice has.",
    web(ALICE, later(by("bob", header("x-user", "alice"), number=2))),
)
problem(
    "RuleTakesAll",
    "Bob's path prefix comes before Alice's path regex and leaves it nothing.",
    web(by("alice", path("^/api/v[0-9]+/cart$", "regex")), later(by("bob", path("/api"), number=2))),
)
problem(
    "RuleOverlap",
    "Requests below /api with Alice's header match both; so do some that carry Alice's and Carol's marks.",
    web(ALICE, later(by("bob", path("/api"), number=2)), later(by("carol", {"matchCookie": {"name": "user", "value": "carol"}}, number=3))),
)
problem(
    "RuleUndecided",
    "Two regexes that only a very long search could compare.",
    web(
        by("alice", header("x-user", "^.*a.{20}$", "regex")),
        later(by("bob", header("x-user", "^.*[ab].{20}$", "regex"), number=2)),
    ),
)
problem(
    "CarrierLimit",
    "Bob's value is as long as it may be, of dollar signs, each of which nginx needs a variable for.",
    web(ALICE, by("bob", header("x-user", "$" * 500), number=2)),
)
problem("PortMappingInvalid", "A port that does not exist.", web({**ALICE, "portMappings": ["3000:99999"]}))
problem("PortUnknown", "The container has no such port.", web(by("alice", header("x-user", "alice"), port="3000:9999")))
problem(
    "PortNotHttp",
    "Rules on a UDP port.",
    web(
        by("alice", header("x-user", "alice"), port="3000:5353"),
        containers=app(ports=[{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 5353, "protocol": "UDP"}]),
    ),
)
problem(
    "TlsPortNoCertificate",
    "The port speaks TLS and nobody brings a certificate.",
    web(
        by("alice", header("x-user", "alice"), port="3000:8443"),
        containers=app(ports=[{"containerPort": 8443, "name": "https", "protocol": "TCP"}]),
    ),
)
problem(
    "SecretElsewhere",
    "The mount of a workload of namespace shop names the key of the operator's own webhook.",
    web(
        mount(
            "web",
            "deployment/web",
            providerParameter={
                "tls": {
                    "certificate": "secret:shop/web-tls:tls.crt",
                    "key": {"secret": {"namespace": "gefyra", "name": "bascule-admission-certs", "key": "tls.key"}},
                }
            },
        ),
        containers=app(ports=[{"containerPort": 8443, "name": "https", "protocol": "TCP"}]),
    ),
)
problem("EndpointUnresolved", "The connection has not reported where the requests go.", web({**ALICE, "clusterEndpoint": {}}))
problem("BridgeExpired", "The bridge's sunset has passed: it is removed.", web({**ALICE, "sunset": "2026-11-24T22:00:00Z"}))
problem("MountExpired", "The mount's sunset has passed: it is removed.", web(mount("web", "deployment/web", sunset="2026-11-24T22:00:00Z")))
problem("MountDuplicate", "Two mounts of one target, spelt differently.", web(mount("one", "deployment/web"), mount("two", "deploy/web")))
problem("WorkloadKindUnsupported", "A CronJob has no Pods that wait for requests.", web({**ALICE, "target": "cronjob/web"}))
problem(
    "ContainerAmbiguous",
    "The Pod has two containers and none is named.",
    web({**ALICE, "targetContainer": ""}, containers=[container("app"), container("side", ports=(9000,))]),
)
problem("HostNetwork", "The Pods use the node's network.", spec(hostNetwork=True))
problem("HostIPC", "The Pods share the node's memory.", spec(hostIPC=True))
problem(
    "HostPort",
    "A node's port leads to the container.",
    web(ALICE, containers=app(ports=[{"containerPort": 8080, "hostPort": 80, "protocol": "TCP"}])),
)
problem("ReadWriteOncePod", "The volume allows one Pod.", with_claim("ReadWriteOncePod"))
problem("SharedVolume", "A shadow would be a second writer.", with_claim("ReadWriteOnce"))
problem("CommandUnknown", "The carrier has no link of the command's name.", web(ALICE, containers=app(command=["/opt/shop/web"])))
problem(
    "ExecProbe",
    "A probe runs a command in the container.",
    web(ALICE, containers=app(readinessProbe={"exec": {"command": ["cat", "/tmp/ready"]}})),
)
problem("WindowsPod", "The Pods run on Windows.", spec(os={"name": "windows"}))
problem("MeshSidecar", "The Pods carry a mesh's proxy.", web(ALICE, containers=[container(), container("istio-proxy", ports=())]))
problem("ImagePolicy", "The carrier image may not be pulled.", web(ALICE, containers=app(imagePullPolicy="Never")))
problem(
    "ServicePublishesNotReady",
    "A Service publishes Pods that are not ready.",
    web(ALICE, extra=[service("peers", {"app": "web"}, publishNotReadyAddresses=True)]),
)
problem(
    "PortUndeclared",
    "A Service sends to a port that no container declares.",
    web(ALICE, containers=[container(), container("side", ports=())], extra=[service("odd", {"app": "web"}, 90, 9090)]),
)
problem(
    "PortUnsupported",
    "A container listens on SCTP.",
    web(ALICE, containers=app(ports=[{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 9, "protocol": "SCTP"}])),
)
problem(
    "NameClash",
    "Something of somebody else has the name of Service Y'.",
    web(ALICE, extra=[service("deployment-web-shadow", {"app": "other"})]),
)


@case("problem-quota-exceeded")
def _quota() -> Case:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": kube.meta("pods"),
        "spec": {"hard": {"pods": "2"}},
        "status": {"hard": {"pods": "2"}, "used": {"pods": "1"}},
    }
    return Case("QuotaExceeded", "The namespace has no room for the shadows.", settled(web(ALICE, extra=[quota])))


@case("problem-disruption-budget-selects-all")
def _selects_all() -> Case:
    pdb = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": kube.meta("all"),
        "spec": {"minAvailable": 1, "selector": {}},
    }
    return Case(
        "DisruptionBudgetSelectsAll",
        "A budget counts every Pod of the namespace, so it would count shadows.",
        settled(web(ALICE, extra=[pdb])),
    )


@case("problem-autoscaler")
def _autoscaler() -> Case:
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": kube.meta("web"),
        "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    }
    return Case("Autoscaler", "A HorizontalPodAutoscaler will see idle carriers.", settled(web(ALICE, extra=[hpa])))


@case("problem-disruption-budget")
def _budget() -> Case:
    pdb = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": kube.meta("web"),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    return Case(
        "DisruptionBudget", "A budget counts held originals as unhealthy for the seconds of the swap.", settled(web(ALICE, extra=[pdb]))
    )


@case("problem-network-policy-elsewhere")
def _elsewhere() -> Case:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}}
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}, "podSelector": {"matchLabels": {"app": "web"}}}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": kube.meta("db", "data"),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]},
    }
    return Case(
        "NetworkPolicyElsewhere",
        "A policy of another namespace lets the original in by its labels.",
        settled(web(ALICE, extra=[namespace, policy])),
    )


def _pods(change: Callable[[Obj], Obj], only: int | None = None) -> list[Obj]:
    objects, number = [], 0
    for o in web(ALICE, replicas=2):
        if o["kind"] == "Pod":
            objects.append(change(o) if only in (None, number) else o)
            number += 1
        else:
            objects.append(o)
    return objects


def _metadata(**more: Any) -> Callable[[Obj], Obj]:
    return lambda o: {**o, "metadata": {**o["metadata"], **more}}


problem("NoService", "No Service selects the Pods.", [o for o in web(ALICE) if o["kind"] != "Service"])
KEEP_APART = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
problem(
    "AntiAffinity",
    "Each Pod demands a node of its own.",
    spec(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [KEEP_APART]}}),
)
problem(
    "MarksLost",
    "Somebody took the annotations off a carrier.",
    _pods(lambda o: {**o, "spec": {**o["spec"], "containers": [{**container(), "image": "bascule-carrier2:0.1.0"}]}}, 1),
)
problem(
    "ObjectInvalid",
    "Bob's bridge is in the cluster and names a mount that is not: Alice's stands.",
    web(ALICE, {**by("bob", header("x-user", "bob"), number=2), "metadata": kube.meta("bob", "gefyra"), "target": "nothing"}),
)
problem(
    "StaticPod",
    "A Pod is the mirror of a file on its node.",
    [
        NODE,
        _metadata(annotations={"kubernetes.io/config.mirror": "1"})(pod("solo", {"app": "solo"}, [container()], "10.244.1.1")),
        _direct("pod/solo"),
    ],
)
problem("RolloutStuck", "A new Pod never became ready.", _pods(lambda o: kube.running(o, "10.244.1.9", ready=False), 1))
problem("NoReadyPods", "No Pod is ready.", _pods(lambda o: kube.running(o, "10.244.1.9", ready=False)))
problem("PodTerminating", "One Pod is being deleted.", _pods(_metadata(deletionTimestamp=NOW), 1))
problem("PodFailed", "One Pod was evicted.", _pods(lambda o: {**o, "status": {"phase": "Failed", "reason": "Evicted"}}, 1))
problem(
    "WorkloadPaused",
    "The rollout is paused.",
    [{**o, "spec": {**o["spec"], "paused": True}} if o["kind"] == "Deployment" else o for o in web(ALICE)],
)
problem(
    "WorkloadDeleting",
    "The target is being deleted.",
    [_metadata(deletionTimestamp=NOW)(o) if o["kind"] == "Deployment" else o for o in web(ALICE)],
)


@case("problem-shared-identity")
def _identity() -> Case:
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    made = workload("StatefulSet", "db", {"app": "db"}, app(**mounts), 1, 1)
    made[0]["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    made[1]["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]
    pvc = {**claim("ReadWriteOnce"), "metadata": kube.meta("data-db-0")}
    return Case(
        "SharedIdentity",
        "A shadow would be a second db-0 on the same data.",
        settled([NODE, *made, service("db", {"app": "db"}, 5432), pvc, _direct("statefulset/db")]),
    )


@case("problem-target-missing")
def _missing() -> Case:
    return Case(
        "TargetMissing",
        "The target of a mount that was active is gone.",
        settled([NODE, service("web", {"app": "web"}), mount("web", "deployment/web", state="ACTIVE")]),
    )


def waiting_for(reason: str, message: str) -> Obj:
    """The status of a container that does not start."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": "app", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def with_status(marker: str, status: Obj) -> Case:
    """Deployment web one round into its install, the Pods of ours with `marker` in their name in trouble."""
    objects, now = rounds(web(ALICE), 1)
    failed = [{**o, "status": status} if o["kind"] == "Pod" and marker in o["metadata"]["name"] else o for o in objects]
    return Case("", "", failed, now)


# --- connections


def _relayed(*more: Obj, **report: str) -> list[Obj]:
    """Alice and Bob with a relay, and a bridge of each."""
    clients = [client("alice", providerParameter={"publicKey": kube.PUBLIC_KEY}), client("bob")]
    if report:
        clients = [_with_ports(c, 20000 + 32 * n) for n, c in enumerate(clients)]
    bridges = [_over_relay(name, header("x-user", name)) for name in ("alice", "bob")]
    return web(*bridges, *more, extra=[*kube.relay(**report), *clients])


def _with_ports(client_: Obj, first: int) -> Obj:
    return _metadata(annotations={names.RELAY_PORTS: str(first)})(client_)


def _over_relay(name: str, *conditions: Obj) -> Obj:
    return {**by(name, *conditions), "connectionProvider": "relay", "clusterEndpoint": {}}


@case("connection-relay")
def _relay() -> Case:
    intent = "Each client gets a block of the relay's ports, and each bridge one of them; Alice has brought a key, Bob not yet."
    return Case("Connections through the relay", intent, settled(_relayed()))


@case("connection-relay-away")
def _relay_away() -> Case:
    objects, now = rounds(_relayed(listening="20000 20032"), INSTALLED + 2)
    gone = kube.relay("20032", f'{{"20000": "{now}"}}')
    return Case(
        "A laptop goes away",
        "Alice's machine has lost its connection: her bridge says so, its route stays, and no carrier is told anything.",
        [o for o in objects if o["metadata"]["name"] != "bascule-relay"] + gone,
        now,
    )


@case("connection-stowaway")
def _stowaway() -> Case:
    carol = {**by("carol", header("x-user", "carol")), "clusterEndpoint": {}, "destinationIP": "172.21.0.4"}
    bridges = [{**by(name, header("x-user", name)), "clusterEndpoint": {}} for name in ("alice", "bob")]
    intent = "Alice and Bob share a process, which is one route and keeps Gefyra's port; Carol's is new; a route that nobody needs goes."
    routes = {"alice-zyxwvutsrq": "172.21.0.3:3000,10002", "dave-zyxwvutsrq": "172.21.0.3:300,10000"}
    client_ = client("alice", "stowaway", serviceAccountName="gefyra-client-alice")
    return Case("Connections through Gefyra's Stowaway", intent, settled(web(*bridges, carol, extra=[*kube.stowaway(**routes), client_])))


@case("problem-client-away")
def _client_away() -> Case:
    return Case("ClientAway", "Nobody listens at the relay for Alice's bridge.", *rounds(_relayed(listening="20032"), INSTALLED))


@case("problem-client-gone")
def _client_gone() -> Case:
    alice = _metadata(annotations={"bascule.dev/away-grace": "60"})(_over_relay("alice", header("x-user", "alice")))
    objects = web(
        {**alice, "clusterEndpoint": {"8080": "bascule-relay.gefyra.svc.cluster.local:20000"}},
        extra=[*kube.relay(away=f'{{"20000": "{NOW}"}}'), client("alice")],
    )
    return Case("ClientGone", "Alice's machine has been away for longer than her bridge waits.", settled(objects), after(NOW, 61))


@case("problem-client-expired")
def _client_expired() -> Case:
    gone = client("alice", sunset="2026-11-24T22:00:00Z")
    return Case("ClientExpired", "The client's time is over.", settled(web(extra=[*kube.relay(), gone])))


@case("problem-ports-exhausted")
def _ports_exhausted() -> Case:
    ports = tuple(f"{3000 + n}:{8000 + n}" for n in range(33))
    many = {**_over_relay("alice", header("x-user", "alice")), "portMappings": list(ports)}
    listening = " ".join(str(20000 + n) for n in range(32))
    app = container("app", ports=tuple(8000 + n for n in range(33)))
    objects = web(many, containers=[app], extra=[*kube.relay(listening), _with_ports(client("alice"), 20000)])
    return Case("PortsExhausted", "Alice bridges 33 ports, and a client has 32 of the relay's.", *rounds(objects, 1))


@case("problem-peers-unmanaged")
def _peers_unmanaged() -> Case:
    asking = client("alice", "stowaway", serviceAccountName="gefyra-client-alice", providerParameter={"subnet": "172.21.0.0/16"})
    return Case("PeersUnmanaged", "Alice's machine wants to connect to Stowaway.", settled(web(extra=[*kube.stowaway(), asking])))


@case("problem-stand-in-failed")
def _stand_in_failed() -> Case:
    made = with_status("-stand-in-", {"phase": "Pending", "containerStatuses": [waiting_for("ImagePullBackOff", "no such image")]})
    return made._replace(title="StandInFailed", intent="The carrier image cannot be pulled: no live container is touched.")


@case("problem-config-refused")
def _config_refused() -> Case:
    objects, now = active()
    held = next(o for o in objects if o["kind"] == "ConfigMap")["metadata"]["annotations"]["bascule.dev/config-hash"]
    one = next(o for o in objects if o["kind"] == "Pod" and "carrier-config.bascule.dev/app" in (o["metadata"].get("annotations") or {}))
    notes = {k: v for k, v in one["metadata"]["annotations"].items() if not k.startswith("carrier-config")}
    refused = {**notes, "carrier-refused.bascule.dev/app": f"{held} refused: cannot write to /dev/shm/carrier2/app"}
    told = {**one, "metadata": {**one["metadata"], "annotations": refused}}
    return Case(
        "ConfigRefused",
        "A carrier has no room for its configuration: it serves on with the one it had, and its bridges say why.",
        [told if o is one else o for o in objects],
        now,
    )


@case("problem-shadow-not-ready")
def _not_ready() -> Case:
    stuck = waiting_for("CrashLoopBackOff", "back-off 10s restarting failed container")
    made = with_status("-shadow-", {"phase": "Running", "podIP": "10.244.1.8", "containerStatuses": [stuck]})
    return made._replace(title="ShadowNotReady", intent="A shadow does not become ready: the originals go on serving.")


@case("problem-immutable-field")
def _immutable() -> Case:
    objects, now = active()
    edited = [
        _metadata(annotations={**o["metadata"]["annotations"], "bascule.dev/spec-hash": "00000000"})(o)
        if o["metadata"]["name"].startswith("y-shadow-")
        else o
        for o in objects
    ]
    return Case("ImmutableField", "Somebody put Pods of his own in the shadows' place: they are deleted and made again.", edited, now)


def main() -> None:
    """Write every case."""
    for name, make in sorted(CASES.items()):
        folder = GOLDEN / name
        folder.mkdir(parents=True, exist_ok=True)
        made = make()
        if isinstance(made.objects, str):
            body = made.objects
        else:
            made.objects.sort(key=lambda o: (o["kind"].startswith("gefyra"), *key_of(o)))
            body = write_yaml(made.objects)
        (folder / "README.md").write_text(f"# {made.title}\n\n{made.intent}\n")
        (folder / "input.yaml").write_text(f"# now: {made.now}\n{body}")


if __name__ == "__main__":
    main()

"""Least rights on a real server: its audit log shows that the operator uses every right it has, and asks for none that it lacks."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

from generator import names
from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of, labels_of
from generator.connections.accounts import account
from tests.cluster.certificates import Authority
from tests.live.lab import Lab, Namespace, header, until, workload
from tests.overlay_lab import OPERATOR
from tests.rights import Right, granted, missing, unneeded, used

ACCOUNT = ("gefyra", "gefyra-operator")
DOES_WITHOUT = (Right("get", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "bascule-held"),)
"""Whether the webhook for older Kubernetes is there, it finds out by asking; only components/older-kubernetes gives the right."""
LATE = {Right("get", "", "serviceaccounts", "gefyra", "")}
"""Whose account is there already is asked only if its token comes later than the operator looks for it."""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: audit}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{}], policyTypes: [Ingress]}
"""
TLS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: bascule-tls, namespace: audit}
rules: [{apiGroups: [""], resources: [secrets], resourceNames: [web-tls], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bascule-tls, namespace: audit}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: bascule-tls}
subjects: [{kind: ServiceAccount, name: gefyra-operator, namespace: gefyra}]
"""


PORTS = [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090, "name": "tls"}]
"""By its name the second speaks TLS."""


def test_every_right_is_used_and_none_is_missing(lab: Lab, tmp_path: Path) -> None:
    """The operator walks through all it can do; other tests of the run count too, but for namespaces that have gone."""
    with lab.namespace("audit", workload("audit", replicas=2, ports=PORTS), POLICY, TLS, secret(tmp_path)) as audit:
        walk(lab, audit)
        kinds = "roles,rolebindings,clusterroles,clusterrolebindings"
        rights = granted(json.loads(lab.cluster.kubectl("get", kinds, "-A", "-o", "json"))["items"], ACCOUNT)
        uses = used((lab.cluster.logs / "audit.log").read_text().splitlines(), OPERATOR)
        here = {u for u in uses if u.right.namespace in ("", "gefyra", "audit")}

        # an API server that has just started, as in tests/test_faults.py, refuses for a moment what it has not read the roles of
        assert missing(here, (*DOES_WITHOUT, *rights)) == set()
        assert {r for r in rights if r.namespace in ("", "gefyra", "audit")} == rights
        given = {(r.verb, r.group, r.resource) for r in granted(account_of(CLIENT.name), ("gefyra", f"gefyra-client-{CLIENT.name}"))}
        assert {r for r in unneeded(rights, here) if (r.verb, r.group, r.resource) not in given} <= LATE


def account_of(name: str) -> tuple[Obj, ...]:
    """What the operator makes for a client: it holds these rights to give them."""
    metadata = {"name": name, "namespace": "gefyra", "uid": "1"}
    decoded, _ = decode_client({"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": "relay"})
    assert decoded
    return account(decoded)


def secret(folder: Path) -> str:
    """A certificate for the workload, as an administrator gives one."""
    authority = Authority(folder)
    authority.issue("web", "web", hosts=["web.audit.svc"])
    data = {f"tls.{end}": b64encode((folder / f"web.{end}").read_bytes()).decode() for end in ("crt", "key")}
    metadata = {"name": "web-tls", "namespace": "audit"}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data})


def mount() -> Obj:
    """A mount with TLS on port 9090."""
    source = {part: {"secret": {"namespace": "audit", "name": "web-tls", "key": key}} for part, key in PARTS.items()}
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridgemount",
        "metadata": {"name": "audit", "namespace": "gefyra", "labels": {"test": "audit"}},
        "provider": "carrier2",
        "target": "deployment/web",
        "targetNamespace": "audit",
        "targetContainer": "app",
        "providerParameter": {"9090": {"tls": source}},
    }


PARTS = {"certificate": "tls.crt", "key": "tls.key"}


def walk(lab: Lab, space: Namespace) -> None:
    """A mount, two bridges, other rules, TLS, edited objects, Stowaway, all ends by sunset; and once more, so that events repeat."""
    lab.kube.create(mount())
    space.bridge("alice", "audit", header("x-user", "alice"))
    secure = {"portMappings": ["3001:9090"], "clusterEndpoint": {"9090": f"bob.{space.name}.svc.cluster.local:9090"}}
    space.bridge("bob", "audit", header("x-user", "bob"), **secure)
    for user in ("anna", "alice"):
        lab.kube.merge(BRIDGE, {"providerParameter": {"rules": [{"match": [header("x-user", user)]}]}})
        until(lambda: space.ask("web", "-H", f"x-user: {user}") == "alice", f"{user}'s rule", lambda: space.told("alice"))  # noqa: B023
    (service,) = (o for o in space.objects("Service") if names.ROLE in labels_of(o))
    lab.kube.merge(key_of(service), {"spec": {"selector": {"app": "nothing"}}})
    until(lambda: lab.kube.get(key_of(service))["spec"]["selector"] == service["spec"]["selector"], "the Service to be put right")
    lab.kube.merge(Key("NetworkPolicy", space.name, "web"), {"spec": {"ingress": [{"ports": [{"port": 8080}, {"port": 9090}]}]}})
    until(lambda: all(len(o["spec"]["ingress"][0].get("ports", ())) > 1 for o in space.objects("NetworkPolicy")), "the policy's copy")
    stowaway(lab, space)
    soon = (datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lab.kube.create({"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": CAROL, "provider": "relay"})
    until(lambda: lab.kube.get(CLIENT).get("state") and lab.kube.get(CLIENT).get("serviceAccountName"), "the client's state and account")
    for kind, name in (("GefyraBridge", "alice"), ("GefyraBridge", "bob"), ("GefyraBridgeMount", "audit"), ("GefyraClient", "carol")):
        lab.kube.merge(Key(kind, "gefyra", name), {"sunset": soon})
    space.restored()
    kinds = ("GefyraBridge", "GefyraBridgeMount", "GefyraClient")
    until(lambda: not [o for kind in kinds for o in lab.kube.list_objects(kind)[0]], "the sunset")
    space.bridge("alice", "deployment/web", header("x-user", "alice"))


def stowaway(lab: Lab, space: Namespace) -> None:
    """What tells that Gefyra's Stowaway is there, a bridge that needs it, its Service edited, and all gone."""
    installed, routes = (Key("ConfigMap", "gefyra", f"gefyra-stowaway-{name}") for name in ("config", "proxyroutes"))
    service = Key("Service", "gefyra", "gefyra-stowaway-proxy-10000")
    lab.kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": installed.name, "namespace": "gefyra"}})
    until(lambda: bool(lab.kube.list_objects("ConfigMap", "gefyra", "gefyra.dev/role=proxyroute")[0]), "the routes")
    space.bridge("dave", "audit", header("x-user", "dave"), destinationIP="192.168.101.1", clusterEndpoint={})
    lab.kube.merge(service, {"spec": {"selector": {"gefyra.dev/app": "nothing"}}})
    until(lambda: lab.kube.get(service)["spec"]["selector"]["gefyra.dev/app"] == "stowaway", "the Service to be put right")
    space.remove("dave")
    until(lambda: service not in map(key_of, lab.kube.list_objects("Service", "gefyra")[0]), "the Service to go")
    for key in (installed, routes):
        lab.kube.delete(key)


CAROL = {"name": "carol", "namespace": "gefyra"}
CLIENT = Key("GefyraClient", "gefyra", "carol")
BRIDGE = Key("GefyraBridge", "gefyra", "alice")

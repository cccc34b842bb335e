"""The overlays: they render, conform, name what is there, and a real API server takes them, twice without a change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from generator import names
from generator.cluster.snapshot import Key
from generator.live import metrics
from generator.live.relaykeys import CA, HOST
from generator.live.serve import webhooks
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.machine import Broken
from tests.overlay_lab import COMPONENTS, MONITORING, OPERATOR, OVERLAYS, account, objects, rendered, text_of, with_components
from tests.test_conform import RECORDED_ON, conform, kubeconform

__all__ = ["kubeconform"]
CARRIER = "bascule-carrier2:0.1.0"
HASH = "0123456789abcdef" * 4
SETS = [
    (),
    *((name,) for name in COMPONENTS),
    ("monitoring", "older-kubernetes", "relay", "target-namespace", "tls"),
    ("monitoring", "namespaced", "relay", "tls"),
]


# ---- what is rendered


@pytest.mark.parametrize("overlay", ["base", "dev", "prod"])
def test_an_overlay_conforms(kubeconform: Path, overlay: str, tmp_path: Path) -> None:
    """Each object, strictly, against the schemas of the newest Kubernetes; what only the Prometheus operator knows is left out."""
    found = [o for o in objects(rendered(OVERLAYS / overlay)) if o["kind"] not in MONITORING]
    (tmp_path / "rendered.yaml").write_text(text_of(found))

    assert len(found) > 20
    assert conform(kubeconform, RECORDED_ON, tmp_path / "rendered.yaml") == ""


@pytest.mark.parametrize("components", SETS, ids=lambda c: "+".join(c) or "none")
def test_components_go_together(kubeconform: Path, components: tuple[str, ...], tmp_path: Path) -> None:
    """Each alone, and all but one of the two that are two ways to the same; no object is there twice."""
    found = [o for o in objects(with_components(tmp_path, *components)) if o["kind"] not in MONITORING]
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in found]
    (tmp_path / "rendered.yaml").write_text(text_of(found))

    assert len(keys) == len(set(keys))
    assert conform(kubeconform, RECORDED_ON, tmp_path / "rendered.yaml") == ""


def test_older_kubernetes_gets_a_webhook_for_the_policy(tmp_path: Path) -> None:
    """The same Pods, the same moment; it lets everything pass when it does not answer, at a path that the operator serves."""
    (policy,) = (o for o in objects(rendered(OVERLAYS / "base")) if o["kind"] == "MutatingAdmissionPolicy")
    found = objects(with_components(tmp_path, "older-kubernetes"))
    (hook,) = (w for o in found if o["kind"] == "MutatingWebhookConfiguration" for w in o["webhooks"])
    spec, (rule,) = policy["spec"], hook["rules"]

    assert not [o for o in found if o["kind"].startswith("MutatingAdmissionPolicy")]
    assert hook["objectSelector"] == spec["matchConstraints"]["objectSelector"] == {"matchLabels": {names.HELD: "true"}}
    assert [{k: v for k, v in rule.items() if k != "scope"}] == spec["matchConstraints"]["resourceRules"]
    assert hook["matchConditions"] == spec["matchConditions"]
    assert (hook["failurePolicy"], spec["failurePolicy"]) == ("Ignore", "Ignore")
    assert ("POST", hook["clientConfig"]["service"]["path"]) in webhooks(lambda _: pytest.fail("nobody asks"))


def test_webhooks_lead_where_the_operator_serves() -> None:
    """Gefyra's names and paths; a Service and a port that exist; no authority, which the operator writes."""
    found = objects(rendered(OVERLAYS / "base"))
    (config,) = (o for o in found if o["kind"] == "ValidatingWebhookConfiguration")
    (service,) = (o for o in found if o["kind"] == "Service")
    (pod,) = (o["spec"]["template"]["spec"] for o in found if o["kind"] == "Deployment")
    served = webhooks(lambda _: pytest.fail("nobody asks"))
    ports = {p["name"]: p["containerPort"] for p in pod["containers"][0]["ports"]}

    assert config["metadata"]["name"] == "gefyra.dev"
    assert [w["name"] for w in config["webhooks"]] == [f"{kind}-parameters.gefyra.dev" for kind in ("client", "mount", "bridge")]
    for hook in config["webhooks"]:
        client = hook["clientConfig"]
        assert (client["service"]["namespace"], client["service"]["name"], client["service"]["port"]) == ("gefyra", "gefyra-admission", 443)
        assert client["service"]["path"] == f"/{hook['name'].partition('.')[0]}"
        assert ("POST", client["service"]["path"]) in served
        assert "caBundle" not in client
    assert [(p["port"], ports[p["targetPort"]]) for p in service["spec"]["ports"]] == [(443, 9443)]


def test_the_operator_runs_with_nothing(tmp_path: Path) -> None:
    """The restricted Pod security standard, and a read-only root; `gefyra operator update` finds its container by name."""
    for text in (rendered(OVERLAYS / "base"), rendered(OVERLAYS / "dev"), rendered(OVERLAYS / "prod"), with_components(tmp_path)):
        (deployment,) = (o for o in objects(text) if o["kind"] == "Deployment")
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert container["name"] == "gefyra"
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_relay_is_what_its_image_and_the_code_say(tmp_path: Path) -> None:
    """Ports, paths and names stand in four places; its Pod may do nothing, and nobody but carriers and the operator may reach it."""
    found = {(o["kind"], o["metadata"]["name"]): o for o in objects(with_components(tmp_path, "relay"))}
    spec = found["StatefulSet", names.RELAY]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    secret = pod["volumes"][0]["secret"]
    carriers, operator = found["NetworkPolicy", names.RELAY]["spec"]["ingress"]
    (deployment,) = (o for (kind, _), o in found.items() if kind == "Deployment")

    assert (spec["replicas"], spec["serviceName"], found["Service", names.RELAY]["spec"]["clusterIP"]) == (1, names.RELAY, "None")
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/relay/keys", "/relay/run"}
    assert (secret["secretName"], [item["key"] for item in secret["items"]]) == (HOST.name, ["host_key", "user_ca.pub"])
    assert carriers["ports"] == [{"port": names.RELAY_FIRST, "endPort": names.RELAY_LAST}]
    assert carriers["from"][0]["podSelector"] == {"matchExpressions": [{"key": names.CARRIER, "operator": "Exists"}]}
    assert operator["from"] == [{"podSelector": deployment["spec"]["selector"]}]
    assert "egress" not in found["NetworkPolicy", names.RELAY]["spec"]
    assert {CA.name, HOST.name} <= {name for kind, name in found if kind == "Secret"}
    assert found["ConfigMap", names.RELAY].get("data") is None


def test_alerts_speak_of_metrics_that_there_are(tmp_path: Path) -> None:
    """A name that the operator does not export would never fire."""
    (rules,) = (o for o in objects(with_components(tmp_path, "monitoring")) if o["kind"] == "PrometheusRule")
    exported = set(re.findall(r"(?m)^# TYPE (\w+)", metrics.exposition()[0].decode()))
    said = {name for group in rules["spec"]["groups"] for rule in group["rules"] for name in re.findall(r"bascule_\w+", rule["expr"])}

    assert said
    assert said <= exported


# ---- on a real API server


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """An API server that has taken the base, and has a namespace to manage."""
    with cluster(api_only=True) as own:
        own.kubectl("create", "namespace", "shop")
        own.apply(rendered(OVERLAYS / "base"))
        yield own


def test_applying_again_changes_nothing(server: Cluster) -> None:
    """Nothing is rewritten, and the certificate that the operator has put into its Secret stays."""
    secret, text = Key("Secret", "gefyra", "bascule-admission-certs"), rendered(OVERLAYS / "base")
    operator = account(server.kubeconfig, OPERATOR)
    operator.patch(secret, [{"op": "add", "path": "/data", "value": {"tls.key": "eA=="}}])

    def versions() -> dict[str, str]:
        found = json.loads(server.kubectl("get", "-o", "json", "-f", "-", stdin=text))["items"]
        return {f"{o['kind']} {o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in found}

    first = versions()
    server.apply(text)

    assert len(first) == len(objects(text))
    assert versions() == first
    assert operator.get(secret)["data"] == {"tls.key": "eA=="}


@pytest.mark.parametrize("components", SETS, ids=lambda c: "+".join(c) or "none")
def test_a_server_takes_every_overlay(server: Cluster, components: tuple[str, ...], tmp_path: Path) -> None:
    """It compiles each expression and knows each field; what only the Prometheus operator knows is left out."""
    for base in ("base", "dev"):
        found = [o for o in objects(with_components(tmp_path, *components, base=base)) if o["kind"] not in MONITORING]
        server.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text_of(found)
        )


def test_the_strictest_pod_security_admits_the_relay(server: Cluster, tmp_path: Path) -> None:
    """And its Pod gets no token of an account."""
    found = objects(with_components(tmp_path, "relay"))
    template = next(o["spec"]["template"] for o in found if o["kind"] == "StatefulSet")
    server.kubectl("create", "namespace", "strict")
    server.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    server.kubectl("create", "serviceaccount", "bascule-relay", "-n", "strict")
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "bascule-relay-0", "namespace": "strict"}}
    made = json.loads(server.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod)))

    assert [v["name"] for v in made["spec"]["volumes"]] == ["keys", "run"]
    template["spec"]["containers"][0]["securityContext"].pop("capabilities")
    with pytest.raises(Broken, match="restricted"):
        server.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps({**pod, **template, "metadata": pod["metadata"]}))

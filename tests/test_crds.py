"""The three kinds of gefyra.dev on a real API server: Gefyra's own objects are taken as they are, ours too, bad ones are not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generator.cli.wishes import DEFAULTS as KNOWN
from generator.cluster.snapshot import OUR_KINDS, Key, Obj
from generator.live.failures import Invalid
from generator.live.kube import Kube, path
from generator.text.reading import read
from tests import golden
from tests.cluster.cluster import Cluster, cluster
from tests.overlay_lab import OVERLAYS, account, objects

SCHEMAS = Path(__file__).parent / "schemas" / "crd"
CRDS = {
    o["spec"]["names"]["kind"]: o for path in sorted((OVERLAYS / "base" / "crds").glob("gefyra*.yaml")) for o in objects(path.read_text())
}

GEFYRA = {
    "gefyrabridge": """gefyrabridges gbridge,gbridges
        provider:string providerParameter:object connectionProvider:string targetNamespace:string target:string targetContainer:string
        client:string destinationIP:string portMappings:array clusterEndpoint:object sunset:string state:string stateTransitions:object
        status:object""",
    "gefyrabridgemount": """gefyrabridgemounts gbridgemount,gbridgemounts
        targetNamespace:string target:string targetContainer:string provider:string providerParameter:object sunset:string
        missingGracePeriod:integer state:string stateTransitions:object status:object""",
    "gefyraclient": """gefyraclients gclient,gclients
        provider:string providerParameter:object providerConfig:object serviceAccountName:string serviceAccountData:object sunset:string
        maxConnectionAge:integer lastClientContact:string state:string stateTransitions:object status:object""",
}
"""Plural, short names and fields of Gefyra 2.5.4 (operator/gefyra/resources/crds.py)."""

BRIDGE = """
apiVersion: gefyra.dev/v1
kind: gefyrabridge
metadata:
  name: alice-web-app-x7k2p
  namespace: gefyra
  labels: {gefyra.dev/bridge-mount: web, gefyra.dev/client: alice, gefyra.dev/client-container: web}
provider: carrier2
connectionProvider: stowaway
providerParameter:
  rules:
  - match:
    - matchHeader: {name: x-gefyra, value: peer, type: exact}
    - matchPath: {path: /api, type: prefix}
client: alice
destinationIP: 172.21.0.3
target: web
targetNamespace: ""
targetContainer: ""
portMappings: ["8000:80"]
handleProbes: true
"""
MOUNT = """
apiVersion: gefyra.dev/v1
kind: gefyrabridgemount
metadata: {name: web, namespace: gefyra}
targetNamespace: default
target: deploy/web
targetContainer: app
provider: carrier2mount
providerParameter:
  "443": {tls: {certificate: {secret: {namespace: default, name: web, key: tls.crt}}, key: /tls/tls.key, sni: web.example}}
"""
CLIENT = """
apiVersion: gefyra.dev/v1
kind: gefyraclient
metadata: {name: alice, namespace: gefyra}
provider: stowaway
status: {}
"""
OURS = """
apiVersion: gefyra.dev/v1
kind: gefyrabridge
metadata: {name: bob, namespace: gefyra}
connectionProvider: relay
target: deployment/web
targetNamespace: shop
targetContainer: app
portMappings: ["3000:8080"]
sunset: "2026-11-25T20:00:00Z"
providerParameter:
  mode: mirror
  fallback: error
  accessLog: true
  rules:
  - match: [{matchCookie: {name: user, value: bob}}, {matchMethod: {method: POST}}, {matchQuery: {name: q, value: "1", type: regex}}]
"""
OUR_MOUNT = """
apiVersion: gefyra.dev/v1
kind: gefyrabridgemount
metadata: {name: bank, namespace: gefyra}
target: statefulset/bank
targetNamespace: shop
missingGracePeriod: 0
providerParameter:
  tls: {certificate: "secret:shop/web:tls.crt", key: "secret:shop/web:tls.key"}
  allowSharedVolumes: true
  carrierImage: registry.example/carrier2:1
"""


def test_apply_knows_what_the_server_puts_in() -> None:
    """Else a file without these fields would seem to change each time what is there."""
    fields = CRDS["gefyrabridge"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    found = {name: field["default"] for name, field in fields.items() if "default" in field}
    assert found == {**KNOWN, "state": "REQUESTED"}


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """An API server that has the three kinds, and nobody who judges them."""
    with cluster(api_only=True) as own:
        own.kubectl("apply", "--server-side", "-k", str(OVERLAYS / "base" / "crds"))
        own.kubectl("create", "namespace", "gefyra")
        own.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        yield own


@pytest.fixture
def kube(server: Cluster) -> Iterator[Kube]:
    """Its administrator; no object stays."""
    yield (kube := account(server.kubeconfig))
    for kind in OUR_KINDS.values():
        for obj in kube.list_objects(kind, "gefyra")[0]:
            kube.delete(key_of(obj))


def key_of(obj: Obj) -> Key:
    """As the live room spells it."""
    return Key(OUR_KINDS[obj["kind"].lower()], "gefyra", obj["metadata"]["name"])


def made(kube: Kube, obj: Obj, *, strict: bool = False) -> Obj:
    """The object as the server has it. strict: unknown fields are refused, as kubectl asks for."""
    query = {"fieldValidation": "Strict" if strict else "Ignore"}
    where = path(key_of(obj).kind, "gefyra")
    answer: Obj = kube._send("POST", where, query, data=json.dumps(obj), headers={"Content-Type": "application/json"}).json()
    return answer


DEFAULTS = {"provider": "carrier2", "client": "", "destinationIP": "", "target": "", "targetContainer": "", "targetNamespace": ""}
"""The fields that Gefyra's command line reads of every bridge there is (client/gefyra/types/bridge.py: `from_raw`)."""


def whole(obj: Obj) -> Obj:
    """A bridge with the fields that it always has; any other object as it is."""
    return {**(DEFAULTS if key_of(obj).kind == "GefyraBridge" else {}), **obj}


def own_part(obj: Obj) -> Obj:
    """What its owner has written: no server metadata, no default."""
    fields = {k: v for k, v in obj.items() if k != "metadata" and (k, v) not in (("state", "REQUESTED"), ("portMappings", []))}
    return {**fields, "metadata": {k: v for k, v in obj["metadata"].items() if k in ("name", "namespace", "labels", "annotations")}}


@pytest.mark.parametrize("kind", GEFYRA)
def test_names_and_fields_are_gefyras(kind: str) -> None:
    """Kind in lower case, no status subresource, each field with its type, and nothing demanded but a client's provider."""
    crd, (plural, short, *fields) = CRDS[kind], GEFYRA[kind].split()
    (version,) = crd["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]

    assert crd["metadata"]["name"] == f"{plural}.gefyra.dev"
    assert (crd["spec"]["names"]["plural"], crd["spec"]["names"]["shortNames"]) == (plural, short.split(","))
    assert (crd["spec"]["scope"], version["name"], version.get("subresources")) == ("Namespaced", "v1", None)
    assert {f"{name}:{field['type']}" for name, field in schema["properties"].items()} == set(fields)
    assert schema.get("required", []) == (["provider"] if kind == "gefyraclient" else [])


@pytest.mark.parametrize("text", [BRIDGE, MOUNT, CLIENT, OURS, OUR_MOUNT], ids=["bridge", "mount", "client", "our-bridge", "our-mount"])
def test_an_object_is_kept_as_it_was_written(kube: Kube, text: str) -> None:
    """Gefyra's, as its command line writes it, and ours; what Gefyra's own schema drops, `handleProbes`, is dropped."""
    (obj,) = objects(text)

    assert own_part(made(kube, obj)) == {k: v for k, v in whole(obj).items() if k != "handleProbes"}
    assert made(kube, {**obj, "metadata": {**obj["metadata"], "name": "again"}})["state"] == "REQUESTED"


def test_golden_bridges_and_mounts_are_taken_whole(kube: Kube) -> None:
    """Each that a golden case holds as it should be, state and conditions too: strictly, nothing is lost."""
    found = {
        (case.parent.name, o["metadata"]["name"]): o
        for case in sorted(golden.GOLDEN.glob("*/desired.yaml"))
        for o in read(case.read_text(), case.name)[0]
        if str(o["kind"]).lower() in OUR_KINDS
    }
    assert len(found) > 100

    for (case, _), obj in found.items():
        plain = {**obj, "kind": obj["kind"].lower(), "metadata": {k: obj["metadata"][k] for k in ("name", "namespace")}}
        answer = made(kube, plain, strict=True)
        kube.delete(key_of(answer))
        assert {k: v for k, v in answer.items() if k not in ("metadata", "portMappings")} == {
            k: v for k, v in whole(plain).items() if k not in ("metadata", "portMappings")
        }, case


@pytest.mark.parametrize(
    ("text", "old", "new", "field"),
    [
        (BRIDGE, "provider: carrier2", "provider: carrier3", "provider"),
        (BRIDGE, "connectionProvider: stowaway", "connectionProvider: pigeon", "connectionProvider"),
        (BRIDGE, '["8000:80"]', "[8000]", "portMappings[0]"),
        (BRIDGE, '["8000:80"]', '"8000:80"', "portMappings"),
        (BRIDGE, "type: exact", "type: Exact", "providerParameter.rules[0].match[0].matchHeader.type"),
        (OURS, "mode: mirror", "mode: copy", "providerParameter.mode"),
        (OURS, "accessLog: true", 'accessLog: "yes"', "providerParameter.accessLog"),
        (OUR_MOUNT, "missingGracePeriod: 0", "missingGracePeriod: -1", "missingGracePeriod"),
        (OUR_MOUNT, "allowSharedVolumes: true", "allowSharedVolumes: 1", "providerParameter.allowSharedVolumes"),
        (CLIENT, "provider: stowaway", "sunset: never", "provider"),
        (BRIDGE, "destinationIP: 172.21.0.3", "status: {conditions: [{type: Accepted}]}", "status.conditions[0].reason"),
    ],
)
def test_a_bad_object_is_refused_with_its_field(kube: Kube, text: str, old: str, new: str, field: str) -> None:
    """The shape, before anybody of ours is asked."""
    assert old in text
    (obj,) = objects(text.replace(old, new))

    with pytest.raises(Invalid) as refused:
        made(kube, obj)
    assert field in [cause.partition(":")[0] for cause in refused.value.causes]


def test_a_misspelt_condition_is_kept_for_the_webhook(kube: Kube) -> None:
    """Dropped, it would leave a rule without conditions, which takes everybody's requests."""
    (obj,) = objects(BRIDGE.replace("matchHeader", "matchHeaders").replace("path: /api", "paths: /api"))
    obj["providerParameter"]["rule"] = []

    assert made(kube, obj)["providerParameter"] == obj["providerParameter"]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (BRIDGE, {"target": "other"}),
        (BRIDGE, {"portMappings": ["8001:80"]}),
        (BRIDGE, {"connectionProvider": "relay"}),
        (BRIDGE, {"connectionProvider": None}),
        (MOUNT, {"target": "deploy/other"}),
        (MOUNT, {"targetNamespace": "shop"}),
        (MOUNT, {"targetContainer": "other"}),
    ],
)
def test_what_gefyra_holds_for_good_cannot_change(kube: Kube, text: str, change: Obj) -> None:
    """The server itself says so, with the field and what to do."""
    (obj,) = objects(text)
    key = key_of(made(kube, obj))
    (field,) = change

    with pytest.raises(Invalid) as refused:
        kube.merge(key, change)
    assert [c for c in refused.value.causes if c.startswith(f"{field}:") and "cannot change; delete the" in c]


def test_what_changes_in_a_life_can_change(kube: Kube) -> None:
    """What command lines and operators write later: an address, rules, states, endpoints, a subnet that comes and goes."""
    bridge, client = (key_of(made(kube, objects(text)[0])) for text in (BRIDGE, CLIENT))
    state = {"state": "ACTIVE", "stateTransitions": {"ACTIVE": "2026-11-24T22:30:00.123456Z"}}

    kube.merge(bridge, {"destinationIP": "172.21.0.4", "providerParameter": None})
    after = kube.merge(bridge, {**state, "clusterEndpoint": {"80": "stowaway.gefyra.svc:10000"}})
    kube.merge(client, {"providerParameter": {"subnet": "192.168.100.0/24"}, "status": {"wireguard": {"peers": 1}}})
    left = kube.merge(client, {"providerParameter": None, "providerConfig": None})

    assert after["clusterEndpoint"] == {"80": "stowaway.gefyra.svc:10000"}
    assert "providerParameter" not in after
    assert "providerParameter" not in left
    assert left["status"] == {"wireguard": {"peers": 1}}


def test_kubectl_get_tells_what_matters(kube: Kube, server: Cluster) -> None:
    """State, target and owner, and the first reason that something does not hold; nothing there once all does."""
    (bridge, mount) = (objects(text)[0] for text in (BRIDGE, OUR_MOUNT))
    since = {"lastTransitionTime": "2026-11-24T22:30:00Z"}
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "its rules stand", **since}
    waits = {"type": "ResolvedRefs", "status": "False", "reason": "NoConnection", "message": "nobody is there", **since}
    programmed = {"type": "Programmed", "status": "True", "reason": "Programmed", "message": "3 of 3", **since}
    made(kube, {**bridge, "status": {"conditions": [accepted, waits]}})
    made(kube, {**mount, "state": "ACTIVE", "status": {"conditions": [accepted, programmed], "originals": {"total": 3, "programmed": 3}}})

    def table(kind: str) -> list[list[str]]:
        lines = server.kubectl("get", "-n", "gefyra", kind).splitlines()
        starts = [word.start() for word in re.finditer(r"\S+", lines[0])]
        return [[line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)][:-1] for line in lines]

    assert table("gbridge") == [
        ["NAME", "STATE", "TARGET", "CLIENT", "REASON"],
        ["alice-web-app-x7k2p", "REQUESTED", "web", "alice", "NoConnection"],
    ]
    assert table("gbridgemounts") == [
        ["NAME", "STATE", "TARGET-NAMESPACE", "TARGET", "CARRIED", "PODS", "REASON"],
        ["bank", "ACTIVE", "shop", "statefulset/bank", "3", "3", ""],
    ]


@pytest.mark.parametrize("kind", ["gefyrabridge", "gefyrabridgemount", "gefyraclient"])
def test_the_schema_of_the_golden_files_agrees(kind: str) -> None:
    """tests/schemas/crd/ knows the fields, types and words that the definition has, and no others; it may say more of their form."""
    schema = json.loads((SCHEMAS / f"{kind}_v1.json").read_text())
    crd = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] = {k: v for k, v in schema["properties"].items() if k not in ("apiVersion", "kind", "metadata")}

    assert list(differences(crd, schema, schema.get("$defs", {}), kind)) == []


STATES = {"state"}
"""Gefyra's schema leaves the words open."""
CLOSED = {"provider"}
"""Of a mount: open in Gefyra's schema, and one word in every object."""


def differences(crd: Obj, schema: Obj, defs: Obj, at: str) -> Iterator[str]:
    """Where the two do not say the same."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "type" not in crd or "oneOf" in schema:  # a text or an object: no structural schema can say so
        return
    wanted = schema.get("type", "string" if "enum" in schema else None)
    if crd["type"] != wanted:
        yield f"{at}: {crd['type']} here, {wanted} there"
    name = at.rpartition(".")[2]
    if sorted(crd.get("enum", ())) != sorted(schema.get("enum", ())) and name not in STATES | (
        CLOSED if at.startswith("gefyrabridgemount") else set()
    ):
        yield f"{at}: {crd.get('enum')} here, {schema.get('enum')} there"
    mine, theirs = crd.get("properties", {}), schema.get("properties", {})
    open_ = crd.get("x-kubernetes-preserve-unknown-fields") and schema.get("additionalProperties", True) is not False
    for key in sorted(set(mine) ^ set(theirs)):
        if not open_:
            yield f"{at}.{key}: in one of them"
    for key in set(mine) & set(theirs):
        yield from differences(mine[key], theirs[key], defs, f"{at}.{key}")
    if "items" in crd:
        yield from differences(crd["items"], schema.get("items", {}), defs, f"{at}[]")


def test_a_difference_shows() -> None:
    """A field, a type and a word that only one of them has."""
    crd: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "string", "enum": ["x"]}, "b": {"type": "integer"}, "c": {"type": "string"}},
    }
    other: dict[str, Any] = {"type": "object", "properties": {"a": {"enum": ["y"]}, "b": {"type": "string"}}}

    assert sorted(differences(crd, other, {}, "k")) == [
        "k.a: ['x'] here, ['y'] there",
        "k.b: integer here, string there",
        "k.c: in one of them",
    ]

"""Least rights: what the overlays give to the operator is what the code asks for, and the comparison with an audit log can be trusted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from generator.live import reading
from generator.live.kube import RESOURCES
from tests.overlay_lab import OPERATOR, OVERLAYS, objects, rendered, with_components
from tests.rights import Right, Use, granted, missing, unneeded, used

ACCOUNT = ("gefyra", "gefyra-operator")
DOCS = OVERLAYS.parent / "docs" / "rights.md"
READ_ONCE = {"Namespace"}
"""`bascule snapshot` reads it with the user's own account; the operator does not."""


@pytest.fixture(scope="module")
def rights(tmp_path_factory: pytest.TempPathFactory) -> set[Right]:
    """What the operator gets, with one managed namespace, `shop`."""
    return granted(objects(with_components(tmp_path_factory.mktemp("overlay"), "target-namespace")), ACCOUNT)


def lists(kinds: tuple[str, ...], namespace: str) -> set[Right]:
    """The rights to follow kinds by list and watch."""
    found = (RESOURCES[kind] for kind in kinds if kind not in READ_ONCE)
    pairs = [(r.api_version.rpartition("/")[0], r.plural) for r in found]
    return {Right(verb, group, plural, namespace) for group, plural in pairs for verb in ("list", "watch")}


def test_what_is_read_is_what_the_code_reads(rights: set[Right]) -> None:
    """A kind more in reading.py needs a right more, and a kind less one less."""
    wanted = lists((*reading.NEEDED, *reading.OPTIONAL), "shop") | lists(reading.CONTROL, "gefyra")

    assert {right for right in rights if right.verb in ("list", "watch")} == wanted


def test_nothing_is_written_but_what_a_plan_holds(rights: set[Right]) -> None:
    """The kinds of plan.Change, the status of Pods, exec, Events; no update, no deletecollection, nothing on workloads."""
    written = {(r.verb, r.resource) for r in rights if r.namespace == "shop" and r.verb not in ("list", "watch")}
    ours = {(verb, kind) for verb in ("create", "patch", "delete") for kind in ("pods", "services", "configmaps", "networkpolicies")}

    events = {("create", "events"), ("patch", "events")}
    assert written == ours | events | {("patch", "pods/status"), ("create", "pods/exec"), ("get", "pods/exec")}


def test_beyond_namespaces_there_is_one_right(rights: set[Right]) -> None:
    """To write the authority of its certificate into its own webhook configuration."""
    group = "admissionregistration.k8s.io"

    assert {r for r in rights if not r.namespace} == {
        Right(verb, group, "validatingwebhookconfigurations", "", "gefyra.dev") for verb in ("get", "patch")
    }


def test_secrets_are_named(rights: set[Right], tmp_path: Path) -> None:
    """Its own certificate; with components/tls those that an administrator names; never all, never made: that would give any token."""
    with_tls = granted(objects(with_components(tmp_path, "target-namespace", "tls")), ACCOUNT)

    assert {(r.verb, r.namespace, r.name) for r in rights if r.resource == "secrets"} == {
        (verb, "gefyra", "bascule-admission-certs") for verb in ("get", "patch")
    }
    assert with_tls - rights == {Right("get", "", "secrets", "shop", "web-tls")}


@pytest.mark.parametrize("overlay", ["base", "dev", "prod"])
def test_no_wildcard_and_no_way_up(overlay: str) -> None:
    """No rule says `*`, and none lets its holder give rights, act as somebody else, or read all Secrets."""
    rules = [rule for o in objects(rendered(OVERLAYS / overlay)) if o["kind"] in ("Role", "ClusterRole") for rule in o["rules"]]
    said = {word for rule in rules for part in ("verbs", "apiGroups", "resources", "resourceNames") for word in rule.get(part, ())}

    assert rules
    assert not said & {"*", "escalate", "bind", "impersonate", "deletecollection", "nodes", "serviceaccounts", "roles", "rolebindings"}
    assert all(rule.get("resourceNames") for rule in rules if "secrets" in rule["resources"])


def test_a_namespaced_installation_has_roles_alone(rights: set[Right], tmp_path: Path) -> None:
    """The same rights in the namespace, and no ClusterRole, no ClusterRoleBinding."""
    found = objects(with_components(tmp_path, "namespaced"))

    assert not [o["kind"] for o in found if o["kind"].startswith("ClusterRole")]
    assert granted(found, ACCOUNT) == {r for r in rights if r.namespace}


def test_older_kubernetes_needs_one_right_more(rights: set[Right], tmp_path: Path) -> None:
    """The authority in the webhook that holds Pods there."""
    group = "admissionregistration.k8s.io"

    assert granted(objects(with_components(tmp_path, "target-namespace", "older-kubernetes")), ACCOUNT) - rights == {
        Right(verb, group, "mutatingwebhookconfigurations", "", "bascule-held") for verb in ("get", "patch")
    }


def test_the_relay_needs_rights_to_named_objects(rights: set[Right], tmp_path: Path) -> None:
    """To two Secrets and a ConfigMap that the overlay makes, and to read where its Pod is."""
    more = granted(objects(with_components(tmp_path, "target-namespace", "relay")), ACCOUNT) - rights
    secrets = {("secrets", "bascule-relay-ca"), ("secrets", "bascule-relay-host")}

    assert {(r.resource, r.name) for r in more} == {*secrets, ("configmaps", "bascule-relay"), ("pods", "bascule-relay-0")}
    assert {r.verb for r in more if r.resource != "pods"} == {"get", "patch"}
    assert {r.verb for r in more if r.resource == "pods"} == {"get"}
    assert {r.namespace for r in more} == {"gefyra"}


def test_the_table_in_the_documentation_is_whole(tmp_path: Path) -> None:
    """docs/rights.md has a row for each right of the operator, and no other; the files that it names are there."""
    found = objects(with_components(tmp_path, "target-namespace", "older-kubernetes", "relay", "tls", "clients"))
    real = {(r.namespace or "-", r.group or "core", r.resource, r.verb) for r in granted(found, ACCOUNT)}
    table = DOCS.read_text().partition("## Rights")[2].partition("## Fences")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    where = {"gefyra": "gefyra", "managed": "shop", "cluster": "-"}
    told = set()
    for row in rows:
        resources, verbs, place = (re.findall(r"`([^`]+)`", row[0]), re.findall(r"`([^`]+)`", row[1]), row[2])
        told |= {(where[place], resource.partition(" ")[0], resource.partition(" ")[2], verb) for resource in resources for verb in verbs}

    assert told == real
    assert not [file for row in rows for file in row[4].split(", ") if not (OVERLAYS.parent / "generator" / file).exists()]


def event(verb: str, decision: str = "allow", user: str = OPERATOR, **at: str) -> str:
    """A line of an audit log."""
    body: dict[str, Any] = {
        "verb": verb,
        "user": {"username": user},
        "objectRef": at,
        "annotations": {"authorization.k8s.io/decision": decision},
    }
    return json.dumps(body)


def test_a_use_is_read_off_the_log() -> None:
    """Group, subresource and name; whoever is impersonated is who acts; other accounts and requests without an object are left out."""
    as_admin = json.loads(event("get", resource="pods", namespace="shop", name="web"))
    as_admin |= {"user": {"username": "admin"}, "impersonatedUser": {"username": OPERATOR}}
    log = [
        event("patch", resource="pods", subresource="status", namespace="shop", name="web"),
        event("list", "forbid", resource="jobs", apiGroup="batch", namespace="shop"),
        event("list", resource="pods", user="system:admin"),
        json.dumps({"verb": "get", "user": {"username": OPERATOR}, "requestURI": "/version"}),
        json.dumps(as_admin),
    ]

    assert used(log, OPERATOR) == {
        Use(Right("patch", "", "pods/status", "shop", "web"), True),
        Use(Right("list", "batch", "jobs", "shop"), False),
        Use(Right("get", "", "pods", "shop", "web"), True),
    }


def test_what_is_missing_and_what_is_not_needed_show() -> None:
    """A forbidden request is missing; a right that nobody used is not needed; a name or a namespace of another one does not count."""
    rights = {Right("get", "", "secrets", "gefyra", "a"), Right("list", "", "pods", "shop"), Right("list", "", "jobs", "shop")}
    log = [
        event("get", resource="secrets", namespace="gefyra", name="b"),
        event("list", resource="pods", namespace="shop"),
        event("list", "forbid", resource="jobs", namespace="shop"),
    ]
    uses = used(log, OPERATOR)

    assert unneeded(rights, uses) == rights - {Right("list", "", "pods", "shop")}
    assert missing(uses) == {Right("list", "", "jobs", "shop")}
    assert missing(uses, expected=[Right("list", "", "jobs", "")]) == set()


def test_an_exec_over_websocket_uses_both_of_its_rights() -> None:
    """It is a GET, and needs `create` too."""
    rights = {Right("get", "", "pods/exec", "shop"), Right("create", "", "pods/exec", "shop")}

    assert unneeded(rights, used([event("get", resource="pods", subresource="exec", namespace="shop", name="web")], OPERATOR)) == set()


def test_a_binding_gives_the_rules_of_its_role_where_it_stands() -> None:
    """A RoleBinding to a ClusterRole gives them in its namespace; other subjects get nothing; a role that is not there is an error."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    role = {"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [rule]}
    subject = {"kind": "ServiceAccount", "namespace": "gefyra", "name": "gefyra-operator"}
    reference = {"kind": "ClusterRole", "name": "r"}
    binding = {"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "shop"}, "roleRef": reference, "subjects": [subject]}
    other = {**binding, "metadata": {"name": "o", "namespace": "bank"}, "subjects": [{**subject, "name": "x"}]}

    assert granted([role, binding, other], ACCOUNT) == {Right("list", "", "pods", "shop")}
    with pytest.raises(KeyError):
        granted([binding], ACCOUNT)

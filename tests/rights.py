"""What an account may do, by the RBAC objects, against what it has done, by the audit log of the API server.

The end-to-end test starts the API server with an audit log of level Metadata, lets the operator walk through everything it can do,
and asserts `missing(...) == set()` and `unneeded(...) == set()`. Sources: rbac.authorization.k8s.io/v1, audit.k8s.io/v1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from generator.cluster.snapshot import Obj


class Right(NamedTuple):
    """One thing that may be done. resource: with the subresource, as in pods/exec. namespace "": of the cluster. name "": of any object."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    def covers(self, used: Right) -> bool:
        """Whether a request is one of those that this right allows."""
        return self[:3] == used[:3] and self.namespace in ("", used.namespace) and self.name in ("", used.name)


def granted(objects: Iterable[Obj], account: tuple[str, str]) -> set[Right]:
    """Every right that the bindings give to a ServiceAccount, (namespace, name). Raises KeyError for a role that is missing."""
    found = list(objects)
    roles = {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in found if o["kind"] in ("Role", "ClusterRole")
    }
    rights: set[Right] = set()
    for binding in (o for o in found if o["kind"] in ("RoleBinding", "ClusterRoleBinding")):
        subjects = {(s.get("namespace", ""), s["name"]) for s in binding.get("subjects") or () if s["kind"] == "ServiceAccount"}
        if account in subjects:
            namespace = binding["metadata"].get("namespace", "")
            kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
            role = roles[kind, namespace if kind == "Role" else "", name]
            rights |= {right for rule in role.get("rules") or () for right in _atoms(rule, namespace)}
    return rights


def _atoms(rule: Obj, namespace: str) -> Iterator[Right]:
    for verb in rule["verbs"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or ("",):
                    yield Right(verb, group, resource, namespace, name)


class Use(NamedTuple):
    """A request that was made, and whether RBAC allowed it. A fence or a webhook that refused it is another matter."""

    right: Right
    allowed: bool


def used(log: Iterable[str], user: str) -> set[Use]:
    """The requests of a user in an audit log, JSON lines. Left out are those that name no object, such as /version."""
    found: set[Use] = set()
    for line in log:
        event = json.loads(line)
        at = event.get("objectRef")
        if not at or "resource" not in at or _actor(event) != user:
            continue
        resource = "/".join(filter(None, (at["resource"], at.get("subresource"))))
        right = Right(event["verb"], at.get("apiGroup", ""), resource, at.get("namespace", ""), at.get("name", ""))
        decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
        if decision:
            found.add(Use(right, decision == "allow"))
    return found


def _actor(event: Obj) -> str:
    """Who made the request; who was impersonated, if somebody was."""
    return str((event.get("impersonatedUser") or event["user"])["username"])


def missing(uses: Iterable[Use], expected: Iterable[Right] = ()) -> set[Right]:
    """What was asked for and forbidden, but for `expected`: what the operator does without, and says so."""
    return {u.right for u in uses if not u.allowed and not any(e.covers(u.right) for e in expected)}


def unneeded(rights: Iterable[Right], uses: Iterable[Use]) -> set[Right]:
    """The rights that no request has used.

    An exec over websocket is a GET that has to be allowed `create` too (since 1.35, AuthorizePodWebsocketUpgradeCreatePermission;
    test_overlays.py tries it), and the log has one event for both.
    """
    done = {u.right for u in uses if u.allowed}
    done |= {right._replace(verb="create") for right in done if right.verb == "get" and right.resource == "pods/exec"}
    return {right for right in rights if not any(right.covers(use) for use in done)}

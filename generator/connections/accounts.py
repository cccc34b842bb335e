"""A client -> its account: what a user's machine needs who has nothing but the client's token, as Gefyra's command line hands it out.

Secrets never enter a snapshot, so no plan can tell whether they are there: `live/accounts.py` makes these once, and they belong to the
client, with which the server removes them.
"""

from __future__ import annotations

from generator import names
from generator.asked.client import Client
from generator.cluster.snapshot import Obj

_RBAC = "rbac.authorization.k8s.io"


def account_name(client: Client) -> str:
    """The name of the client's ServiceAccount, as in Gefyra; the fences know clients by it."""
    return f"gefyra-client-{client.name}"


def account(client: Client) -> tuple[Obj, ...]:
    """ServiceAccount, Role, RoleBinding and the Secret that the server fills with the account's token, in the order to make them.

    Of other clients the account sees what their bridges say, and nothing of what they connect with.
    """
    name = account_name(client)
    owner = {"apiVersion": names.API_VERSION, "kind": "gefyraclient", "name": client.name, "uid": client.obj["metadata"]["uid"]}
    metadata = {
        "name": name,
        "namespace": names.CONTROL_NAMESPACE,
        "labels": {names.MANAGED_BY: names.MANAGER},
        "ownerReferences": [owner],
    }
    token = {**metadata, "name": f"{name}-token", "annotations": {"kubernetes.io/service-account.name": name}}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": names.CONTROL_NAMESPACE}]
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": name}
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False},
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": _rules(client.name)},
        {"apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": subjects},
        {"apiVersion": "v1", "kind": "Secret", "metadata": token, "type": "kubernetes.io/service-account-token"},
    )


def _rules(name: str) -> list[Obj]:
    """What a client needs; `bascule-fence-clients` narrows its writes to its own bridges."""
    ours = names.API_VERSION.partition("/")[0]
    return [
        _rule(ours, "gefyrabridges", "get list watch create update patch delete"),
        _rule(ours, "gefyrabridgemounts", "get list watch"),
        _rule(ours, "gefyraclients", "get list watch patch delete", name),  # a list of one: fieldSelector metadata.name
        _rule("", "pods/portforward", "create get", f"{names.RELAY}-0"),
        _rule("", "configmaps", "get", names.SETTINGS_CONFIGMAP, names.RELAY),
        _rule("", "services", "get", names.RELAY),
        _rule("events.k8s.io", "events", "list watch"),
        _rule("", "events", "list watch"),  # Gefyra's command line waits for one with reason Ready
        _rule("", "namespaces", "get", names.CONTROL_NAMESPACE),  # these three for its `status`
        _rule("apps", "deployments", "get", "gefyra-operator"),
        _rule("", "pods", "get", f"{names.STOWAWAY}-0"),
    ]


def _rule(group: str, resource: str, verbs: str, *only: str) -> Obj:
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()} | ({"resourceNames": list(only)} if only else {})

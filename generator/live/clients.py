"""Accounts for clients: made once, and told on the client when the server has made the token."""

from __future__ import annotations

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of
from generator.connections.accounts import account, account_name
from generator.live.failures import Conflict
from generator.live.kube import Kube
from generator.names import CONTROL_NAMESPACE


def give_account(kube: Kube, obj: Obj) -> bool:
    """Give a GefyraClient its account, and tell it there; whether it has one now. Called again until it has.

    Two operators at once come to the same. What is left of an earlier client of that name is waited for: it goes with that one.
    Raises KubeError, and ValueError for what is no client.
    """
    client, problems = decode_client(obj)
    if client is None:
        raise ValueError(problems[0].text())
    if client.account:
        return True
    for each in account(client):
        try:
            made = kube.create(each)
        except Conflict:
            if each["kind"] not in ("ServiceAccount", "Secret"):
                continue
            made = kube.get(key_of(each))
        owners = [ref["uid"] for ref in made["metadata"].get("ownerReferences") or ()]
        if owners != [obj["metadata"]["uid"]]:
            return False
    secret = kube.get(Key("Secret", CONTROL_NAMESPACE, f"{account_name(client)}-token"))
    data = {field: text for field, text in (secret.get("data") or {}).items() if field in ("token", "ca.crt", "namespace")}
    if "token" not in data:
        return False
    kube.merge(key_of(obj), {"serviceAccountName": account_name(client), "serviceAccountData": data})
    return True

"""Accounts for clients: made once, and told on the client when the server has made the token."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of
from generator.connections.accounts import account, account_name
from generator.live.failures import Conflict, Invalid, NotFound
from generator.live.kube import Kube
from generator.names import CONTROL_NAMESPACE

_log: Final = logging.getLogger(__name__)


def give_accounts(kube: Kube, clients: Iterable[Obj]) -> bool:
    """Give each GefyraClient its account; whether one waits for it still. clients: whole, as the server has them.

    Raises Forbidden where the operator makes no accounts, another KubeError.
    """
    waits = False
    for obj in clients:
        if obj.get("serviceAccountName") or obj["metadata"].get("deletionTimestamp"):
            continue
        try:
            waits |= not give_account(kube, obj)
        except ValueError:
            continue  # its status says what is wrong with it
        except (Conflict, NotFound):
            waits = True
        except Invalid as error:
            _log.warning("accounts: %s: %s", key_of(obj), error)
    return waits


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

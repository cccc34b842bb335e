"""Accounts for clients: made once, and told on the client when the server has made the token."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of
from generator.connections.accounts import account, account_name
from generator.live.failures import Conflict, Forbidden, Invalid, NotFound, Refused
from generator.live.kube import Kube
from generator.names import CONTROL_NAMESPACE

_log: Final = logging.getLogger(__name__)


def give_accounts(kube: Kube, clients: Iterable[Obj]) -> tuple[bool, set[str]]:
    """Give each GefyraClient its account; whether one waits for it still, and the uids of those for whom the operator may make none.

    clients: whole, as the server has them. What is refused for one keeps no other from its own. Raises KubeError.
    """
    waits, barred = False, set[str]()
    for obj in clients:
        if obj.get("serviceAccountName") or obj["metadata"].get("deletionTimestamp"):
            continue
        try:
            waits |= not give_account(kube, obj)
        except ValueError:
            continue  # its status says what is wrong with it
        except (Conflict, NotFound):
            waits = True
        except Forbidden as error:
            barred.add(obj["metadata"]["uid"])
            _log.info("accounts: %s: %s", key_of(obj), error)  # not even a warning: without components/clients nobody gets one
        except (Invalid, Refused) as error:
            _log.warning("accounts: %s: %s", key_of(obj), error)
    return waits, barred


def give_account(kube: Kube, obj: Obj) -> bool:
    """Give a GefyraClient its account, and tell it there; whether it has one now. Called again until it has.

    Two operators at once come to the same. What is left of an earlier client of that name is waited for: it goes with that one.
    Raises KubeError (Conflict, if it is no longer as in `obj`, or another of its name), and ValueError for what is no client.
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
    guarded = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]}}
    kube.merge(key_of(obj), {**guarded, "serviceAccountName": account_name(client), "serviceAccountData": data})
    return True

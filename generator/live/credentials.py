"""The bearer token of a kubeconfig's user: from a file that rotates, or from an exec plugin.

Plugins: client.authentication.k8s.io/v1 and v1beta1 (KEP-541); a credential is kept until it expires. A Pod's token is rewritten
by kubelet long before it expires (KEP-1205), so that reading the file each time is enough.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from generator.cluster.times import parse
from generator.live.failures import Forbidden

_kept: dict[str, tuple[str, datetime]] = {}


def token(user: dict[str, Any]) -> str:
    """The token, or "" when this user has none of these kinds. Raises Forbidden when a plugin gives none."""
    if "tokenFile" in user:
        return Path(user["tokenFile"]).read_text(encoding="utf-8").strip()
    if isinstance(user.get("exec"), dict):
        return _asked(user["exec"])
    return ""


def _asked(plugin: dict[str, Any]) -> str:
    name = json.dumps(plugin, sort_keys=True)
    kept, until = _kept.get(name, ("", datetime.min.replace(tzinfo=UTC)))
    if kept and datetime.now(UTC) < until:
        return kept
    command = [plugin["command"], *(plugin.get("args") or ())]
    asked = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = os.environ | {e["name"]: e["value"] for e in plugin.get("env") or ()} | {"KUBERNETES_EXEC_INFO": json.dumps(asked)}
    try:
        answer = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)  # noqa: S603  # the user's kubeconfig names it
        status = json.loads(answer.stdout)["status"]
        found = str(status["token"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        hint = plugin.get("installHint") or "run it by hand to see why"
        raise Forbidden(f"the kubeconfig's exec plugin {plugin['command']!r} gave no token ({error}); {hint}") from error
    expires = parse(status.get("expirationTimestamp") or "")
    until = expires - timedelta(minutes=1) if expires else datetime.now(UTC) + timedelta(minutes=1)
    _kept[name] = (found, until)
    return found

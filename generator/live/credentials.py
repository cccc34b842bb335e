"""The bearer token of a kubeconfig's user: from a file that rotates, or from an exec plugin; keys and certificates as files of our own.

Plugins: client.authentication.k8s.io/v1 and v1beta1 (KEP-541); a credential is kept until it expires. A Pod's token is rewritten
by kubelet long before it expires (KEP-1205), so that reading the file each time is enough.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pykube
from pykube.config import BytesOrFile

from generator.cluster.times import parse
from generator.live.failures import Forbidden

_kept: dict[str, tuple[str, datetime]] = {}


def keep_private(config: pykube.KubeConfig) -> None:
    """Write what stands in the kubeconfig itself (`client-key-data` and the like) to files that nobody else can read, or has written.

    TLS libraries want files. pykube would write them to a path that anybody can foretell, readable by all, and leave them there.
    """
    for part in (config.cluster, config.user):
        for each in part.values():
            if isinstance(each, BytesOrFile) and each._path is None:  # noqa: SLF001  # pykube offers no other way
                each._path = _file(each.bytes())  # noqa: SLF001


@cache
def _file(content: bytes) -> Path:
    path = _folder() / hashlib.sha256(content).hexdigest()
    path.touch(0o600)
    path.write_bytes(content)
    return path


@cache
def _folder() -> Path:
    """A folder of this process; `mkdtemp` makes it for its user alone."""
    made = Path(tempfile.mkdtemp(prefix="bascule-"))
    atexit.register(forget)
    return made


def forget() -> None:
    """Remove the files, before the process ends or becomes another program."""
    if _folder.cache_info().currsize:
        shutil.rmtree(_folder(), ignore_errors=True)
        _file.cache_clear()
        _folder.cache_clear()


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
        answer = subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)  # noqa: S603  # the user's kubeconfig names it
        status = json.loads(answer.stdout)["status"]
        found = str(status["token"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        hint = plugin.get("installHint") or "run it by hand to see why"
        raise Forbidden(f"the kubeconfig's exec plugin {plugin['command']!r} gave no token ({error}); {hint}") from error
    expires = parse(status.get("expirationTimestamp") or "")
    until = expires - timedelta(minutes=1) if expires else datetime.now(UTC) + timedelta(minutes=1)
    _kept[name] = (found, until)
    return found

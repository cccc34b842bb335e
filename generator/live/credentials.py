"""The bearer token of a kubeconfig's user: from a file that rotates, or from an exec plugin; keys and certificates as files of our own.

Plugins: client.authentication.k8s.io/v1 and v1beta1 (KEP-541); a credential is kept until it expires. A Pod's token is rewritten
by kubelet long before it expires (KEP-1205), so that reading the file each time is enough.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import pykube
from pykube.config import BytesOrFile

from generator.cluster.times import parse
from generator.errors import Problem
from generator.live.failures import NoCredential

TOKEN: Final = re.compile(r"[!-~]+")
"""What can stand in a header as a bearer token."""
_SPARE: Final = timedelta(minutes=1)
"""So long before its end a token is no longer used."""
_PATIENCE: Final = 60
"""Seconds for a plugin."""
_LINE: Final = 400
"""Characters of what a plugin says."""
_ANEW: Final = "Log in again, or name the file of a token in the kubeconfig, as in tokenFile: /home/alice/token"
_BY_HAND: Final = "Run it by hand as the kubeconfig has it, and log in again if it asks for that, as in `aws sso login`."
_FORM: Final = 'It has to print {"kind": "ExecCredential", "status": {"token": "..."}}; a client certificate is not supported.'
_kept: dict[str, tuple[str, datetime]] = {}
_asking = threading.Lock()


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
    """The token, or "" when this user, as entries.py makes it, has none of these kinds.

    Raises NoCredential when its file or plugin gives none.
    """
    if "tokenFile" in user:
        return _of_file(Path(user["tokenFile"]))
    if isinstance(user.get("exec"), dict):
        return _of_plugin(user["exec"])
    return ""


def _of_file(path: Path) -> str:
    try:
        found = path.read_bytes().strip().decode("ascii", errors="replace")
    except OSError as error:
        raise NoCredential(Problem("KubeconfigInvalid", f"tokenFile {path}", error.strerror or "it cannot be read", _ANEW)) from error
    if not TOKEN.fullmatch(found):
        raise NoCredential(Problem("KubeconfigInvalid", f"tokenFile {path}", "it holds no token", _ANEW))
    return found


def _of_plugin(plugin: dict[str, Any]) -> str:
    """One thread asks, the others wait for what it gets."""
    name = json.dumps(plugin, sort_keys=True)
    with _asking:
        kept, until = _kept.get(name, ("", datetime.min.replace(tzinfo=UTC)))
        if not kept or datetime.now(UTC) + _SPARE > until:
            kept, until = _kept[name] = _asked(plugin)
    return kept


def _asked(plugin: dict[str, Any]) -> tuple[str, datetime]:
    """The token that the plugin gives, and until when. What it prints is not shown: there may be a token in it."""
    asked = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = os.environ | {e["name"]: e["value"] for e in plugin["env"]} | {"KUBERNETES_EXEC_INFO": json.dumps(asked)}
    command, absent = (
        [plugin["command"], *plugin["args"]],
        plugin["installHint"] or "Install it, or give its whole path as the plugin's command.",
    )
    try:
        answer = subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE)  # noqa: S603  # the user's kubeconfig names it
    except subprocess.CalledProcessError as error:
        raise _failed(plugin, f"it ended with {error.returncode}{_said(error.stderr)}", _BY_HAND) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(plugin, f"it did not end within {_PATIENCE} s{_said(error.stderr)}", _BY_HAND) from error
    except (OSError, ValueError) as error:
        raise _failed(plugin, f"it cannot be run: {getattr(error, 'strerror', None) or 'no path'}", absent) from error
    try:
        status = json.loads(answer.stdout)["status"]
        found, expires = status["token"], parse(str(status.get("expirationTimestamp") or ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found, expires = None, None
    if not isinstance(found, str) or not TOKEN.fullmatch(found):
        raise _failed(plugin, f"it printed no ExecCredential with a token{_said(answer.stderr)}", _FORM)
    return found, expires or datetime.now(UTC) + 2 * _SPARE


def _failed(plugin: dict[str, Any], message: str, cure: str) -> NoCredential:
    return NoCredential(Problem("CredentialPluginFailed", f"the kubeconfig's exec plugin {plugin['command']}", message, cure))


def _said(written: bytes | None) -> str:
    """What it wrote to standard error, in a line; its end, if it is much."""
    words = " ".join((written or b"").decode(errors="replace").split())
    return f": {words if len(words) <= _LINE else f'...{words[-_LINE:]}'}" if words else ""

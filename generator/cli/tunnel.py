"""`bascule tunnel`: standard input and output <-> the relay's sshd, through the API server. For ssh as ProxyCommand, not for people."""

from __future__ import annotations

import os
import signal
import sys

import click

from generator.cli import live
from generator.cluster.relay import POD
from generator.errors import InputError, Problem


def command(context: str | None) -> list[str]:
    """The command line that is this, of this very bascule, for a session of this process: it ends with it, even where that is killed."""
    words = [sys.executable, "-P", "-m", "generator", "tunnel", "--parent", str(os.getpid())]
    return [*words, "--context", context] if context is not None else words


@click.command(hidden=True)
@click.option("--context", metavar="NAME", help="Of the kubeconfig.")
@click.option("--parent", type=int, required=True, help="The process with which it ends.")
def tunnel(context: str | None, parent: int) -> None:
    """Pump standard input and output to and from the relay. For ssh, as ProxyCommand.

    Exit code 0 when one side has ended; 2 if there is no way to the relay.
    """
    for name in ("SIGHUP", "SIGTERM"):  # with which ssh ends it; what it keeps of the kubeconfig goes too
        signal.signal(getattr(signal, name, signal.SIGTERM), lambda *_: sys.exit(0))
    from generator.live import client, portforward  # noqa: PLC0415  # only when a cluster is read
    from generator.live.failures import KubeError  # noqa: PLC0415

    kube = live.account(context)
    try:
        with live.answers(kube):
            portforward.forward(kube, POD, client.RELAY_PORT, 0, 1, lambda: _alive(parent))
    except KubeError as error:
        cure = f"`kubectl -n {POD.namespace} get pod {POD.name}` shows how it is; docs/install.md installs it."
        raise InputError(Problem("RelayUnreachable", str(POD), str(error), cure)) from error


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

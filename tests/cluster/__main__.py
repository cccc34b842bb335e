"""A cluster to try things out, and to look into one that a test has.

python -m tests.cluster up [--api-only] FOLDER     until Ctrl-C, or `down` from elsewhere
python -m tests.cluster run FOLDER COMMAND...      a command in the cluster's network, where Pods and Services answer
python -m tests.cluster load FOLDER ARCHIVE...     images for its Pods
python -m tests.cluster stop FOLDER PROGRAM        kubelet, kube-apiserver, etcd, ...
python -m tests.cluster start FOLDER PROGRAM
python -m tests.cluster down FOLDER                also what a crash has left; without a cluster, nothing happens
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.cluster import machine
from tests.cluster.cluster import Cluster, cluster, down
from tests.cluster.machine import Broken

_READY = """Kubernetes is ready. Ctrl-C ends it.

    export KUBECONFIG={folder}/kubeconfig
    kubectl get pods -A                                           from anywhere on this machine
    {python} -m tests.cluster run {folder} curl http://...        in its network: Services and Pods
    {python} -m tests.cluster load {folder} image.tar             an image for its Pods (imagePullPolicy: IfNotPresent)
    ls {folder}/logs
"""


def main() -> None:
    """Do what the command line says; exit code 1 and one line for what does not work."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["up", "run", "load", "stop", "start", "down"])
    parser.add_argument("--api-only", action="store_true", help="up: only etcd and kube-apiserver")
    parser.add_argument("folder", type=Path)
    parser.add_argument("more", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    folder: Path = asked.folder.absolute()
    own = Cluster(folder / "kubeconfig", folder)
    try:
        match asked.action, asked.more:
            case "up", []:
                _up(folder, api_only=asked.api_only)
            case "run", [_, *_] as command:
                inside = own.inside(*command)
                os.execvp(inside[0], inside)
            case "load", archives:
                for archive in archives:
                    own.load_image(Path(archive))
            case "stop", [program]:
                own.stop(program)
            case "start", [program]:
                own.start(program)
            case "down", []:
                down(folder)
            case _:
                parser.error(f"{asked.action} is not used so")
    except Broken as error:
        sys.exit("\n".join([str(error), *getattr(error, "__notes__", ())]))


def _up(folder: Path, *, api_only: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    python = os.path.relpath(sys.executable)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Broken(f"{folder} is not empty. To end what is in it:  {python} -m tests.cluster down {folder}")
    with suppress(KeyboardInterrupt), cluster(api_only=api_only, folder=folder):
        print(_READY.format(folder=folder, python=python), flush=True)  # noqa: T201
        select.select([os.pidfd_open(machine.process_id(folder))], [], [])  # readable when that process has ended


if __name__ == "__main__":
    main()

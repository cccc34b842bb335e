"""The first process of a cluster: gives it a machine of its own, starts and stops its programs, and takes all of it down with itself.

    unshare --net --mount --pid --uts --fork --mount-proc python -m tests.cluster.init FOLDER PORT SOCKET

It listens on FOLDER/control for a request a connection, a line of JSON:

    {"start": NAME, "argv": [PROGRAM, ...]}    run it, its output goes to FOLDER/logs/NAME.log; with null, as the last time
    {"signal": NUMBER, "to": NAME}             send it a signal
    {"end": true}                              end the cluster: the connection closes when nothing is left of it

and answers with {NAME: exit code, or null while it runs}. The end of standard input, so that of whoever started it, ends it too. As the
first process of a PID namespace it takes every other one in it along, containers too; mounts and network go with the last of them.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.cluster import cgroups
from tests.cluster.forward import forward

ADDRESS = "192.0.2.1"
"""Of the node: TEST-NET-1 (RFC 5737), in a network without a way out."""

SERVICES = "10.96.0.0/16"

_MACHINE = f"""
hostname node
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
for folder in /var/lib /usr/libexec; do  # kubelet and the network plugins write there, whatever they are told
  mkdir -p "/run/above$folder/upper" "/run/above$folder/work"
  mount -t overlay -o "lowerdir=$folder,upperdir=/run/above$folder/upper,workdir=/run/above$folder/work" overlay "$folder"
done
mkdir /run/lock /run/sysctl
# kubelet demands these values of the kernel. It finds them, and the machine keeps its own.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  path=${{setting%=*}} file=/run/sysctl/${{path##*/}}
  echo "${{setting#*=}}" > "$file"
  mount --bind "$file" "/proc/sys/$path"
done
ip -batch - <<END
link set lo up
link add node0 type veth peer name node1
link set node0 up
link set node1 up
addr add {ADDRESS}/24 dev node0
route add {SERVICES} dev node0
route add unreachable default
END
"""


class Programs:
    """What was started, by name: its command, and its exit code, or None while it runs."""

    def __init__(self, folder: Path) -> None:
        self._logs = folder / "logs"
        self._commands: dict[str, list[str]] = {}
        self._pids: dict[int, str] = {}
        self.codes: dict[str, int | None] = {}

    def start(self, name: str, argv: list[str] | None) -> None:
        """Run `argv`, or what it was the last time, with an environment that is the same on every machine."""
        command = self._commands[name] = argv or self._commands[name]
        path = f"{Path(command[0]).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": path})
        process.returncode = 0  # `reap` waits for it
        self._pids[process.pid] = name
        self.codes[name] = None

    def signal(self, name: str, number: int) -> None:
        """Nothing happens to a program that has ended."""
        for pid, running in self._pids.items():
            if running == name:
                os.kill(pid, number)

    def reap(self) -> None:
        """Take note of what has ended, also of orphans: they are the first process's own."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if name := self._pids.pop(pid, None):
                self.codes[name] = os.waitstatus_to_exitcode(status)


def serve(control: socket.socket, programs: Programs) -> socket.socket | None:
    """Answer requests until one asks for the end, or whoever started us has ended. Returns the connection that waits for the end."""
    waker, woken = socket.socketpair()
    for each in (waker, woken):
        each.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        for source in (control, woken, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if woken in ready:
                woken.recv(4096)
                programs.reap()
            if sys.stdin in ready:
                return None
            if control in ready:
                connection, _ = control.accept()
                with connection.makefile("r") as lines:
                    request = json.loads(lines.readline() or "{}")
                if request.get("end"):
                    return connection
                if "start" in request:
                    programs.start(request["start"], request["argv"])
                if "signal" in request:
                    programs.signal(request["to"], request["signal"])
                with suppress(OSError), connection:  # who asks may have gone
                    connection.sendall(json.dumps(programs.codes).encode() + b"\n")


def main() -> None:
    """Live as long as the cluster."""
    folder, port, listener = Path(sys.argv[1]), int(sys.argv[2]), socket.socket(fileno=int(sys.argv[3]))
    listener.set_inheritable(False)
    subprocess.run(["sh", "-ec", _MACHINE], check=True)
    if not os.fork():
        os.close(0)
        forward(listener, port)
    listener.close()
    group = cgroups.name_for(folder)
    cgroups.make(group)
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(folder / "control"))
    control.listen()
    waiting = serve(control, Programs(folder))
    os.kill(-1, signal.SIGKILL)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    cgroups.remove(group)
    if waiting:
        waiting.close()


if __name__ == "__main__":
    main()

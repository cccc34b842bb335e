"""A command ends when it is asked to, also in the moment in which it looks whether it has been."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys

import pytest

WAITS = """
import os, signal, threading
from generator.cli.signals import ends
for _ in range(300):
    with ends() as stop:
        threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while not stop.wait(0.00001):
            pass
print("all")
"""
TWICE = """
import time
from generator.cli.signals import ends
with ends() as stop:
    print("waits", flush=True)
    stop.wait()
    print("asked", flush=True)
    time.sleep(600)
"""


def test_what_follows_ctrl_c_begins_a_line() -> None:
    """A terminal shows ^C where the cursor stands."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", TWICE])
    seen = b""
    for key, until in ((b"", b"waits\r\n"), (b"\x03", b"asked")):
        os.write(terminal, key)
        while until not in seen:
            seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # EIO: nobody has it open any more
        while os.read(terminal, 1000):
            pass
    os.waitpid(child, 0)
    os.close(terminal)

    assert seen.startswith(b"waits\r\n^C\r\nasked")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_elsewhere_no_line_is_added(number: signal.Signals) -> None:
    """In a pipe there is nothing but what the command says."""
    with subprocess.Popen([sys.executable, "-c", TWICE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        process.send_signal(number)
        assert process.stdout.readline() == "asked\n"
        process.kill()


def test_a_signal_is_never_lost_in_its_own_lock() -> None:
    """300 times, each while the main thread goes in and out of the lock of the event."""
    assert subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=120, check=True).stdout == "all\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_one_ends_at_once(number: signal.Signals) -> None:
    """Whatever the command is doing then."""
    with subprocess.Popen([sys.executable, "-c", TWICE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        for said in ("waits\n", "asked\n"):
            assert process.stdout.readline() == said
            process.send_signal(number)
        assert process.wait(60) != 0

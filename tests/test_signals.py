"""A command ends when it is asked to, also in the moment in which it looks whether it has been."""

from __future__ import annotations

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

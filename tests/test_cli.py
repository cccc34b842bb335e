"""The command line: what each command prints, its exit codes, and that bad input never does more than say so."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator import names
from generator.cli import _HIDDEN, COMMANDS, data, folder, main, status
from generator.cli.live import Leader
from generator.cli.plan import braced
from generator.cli.states import Status
from generator.cluster.snapshot import Key
from generator.codes import CODES
from generator.simulate import fold, settle, world
from generator.text import reading as text
from generator.text.printable import printable
from tests import kube

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "docs/schema/cli-v1.json").read_text())
AT = ("--now", kube.NOW)
PROGRAM = [sys.executable, "-m", "generator"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ON_FILES = [name for name in COMMANDS if name not in ("demo", "bridge", "connect", "env", "run", "completion", "operate", "ui")]
TARGET = ("--target", "shop/deployment/web", "--port", "8080")


def cluster() -> list[kube.Obj]:
    """Deployment shop/web with three Pods behind a Service."""
    objects = [*kube.deployment("web", {"app": "web", "tier": "front"}, [kube.container()], 3, 1), kube.service("web", {"app": "web"})]
    return list(settle(world(objects), kube.NOW).values())


def bridges() -> list[kube.Obj]:
    """Two users of one mount, and a third whose connection is not there yet."""
    return [
        kube.mount("web", "deploy/web"),
        kube.bridge("john", "web", [kube.rule(kube.path("/api/objects/5"), kube.header("owner", "john"))], client="john"),
        kube.bridge("jane", "web", [kube.rule(kube.header("x-user", "jane")), kube.rule(kube.path("/jane"))], client="jane"),
        kube.bridge("bob", "web", [kube.rule(kube.path("/bob"))], client="bob", endpoint=""),
    ]


def end(objects: list[kube.Obj]) -> tuple[list[kube.Obj], str]:
    """The objects when all steps are done, and the time then."""
    run = fold(objects, kube.NOW)
    assert run.converged
    return list(run.end), run.now


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, 80 columns and no colour settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("KUBECONFIG", os.devnull)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("BASCULE_TRACEBACK", raising=False)
    return tmp_path


def save(objects: list[kube.Obj], name: str = "in.yaml") -> str:
    """A file with the objects."""
    Path(name).write_text(text.write_yaml(objects))
    return name


def bascule(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """A command, run in this process; what escapes it fails the test."""
    return CliRunner().invoke(main, arguments, input=stdin, prog_name="bascule", catch_exceptions=False)


def asked(*arguments: str) -> Any:
    """The JSON a command prints, which its schema accepts."""
    result = bascule(*arguments, *AT, "-o", "json")
    value = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(value)
    return value


def process(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, env={**ENVIRONMENT, **(environment or {})}, check=False)


# --- the program as a whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Each name in the table is a command whose help says when it exits with what, or needs no saying."""
    result = bascule(name, "-h")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: bascule {name}")
    assert "Exit code" in result.stdout or name == "completion"


def commands(above: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all below it, those that are hidden too."""
    yield words
    if isinstance(above, click.Group):
        with click.Context(above) as context:
            names_ = [*above.list_commands(context), *(_HIDDEN if above is main else ())]
            for name in names_:
                command = above.get_command(context, name)
                assert command
                yield from commands(command, *words, name)


@pytest.mark.parametrize("words", list(commands(main)), ids=" ".join)
def test_help_fits_a_terminal(words: tuple[str, ...]) -> None:
    """No line of any help, examples too, is longer than the 80 columns of a terminal."""
    lines = bascule(*words, "--help").stdout.splitlines()

    assert lines[0].startswith(" ".join(("Usage: bascule", *words)))
    assert [line for line in lines if len(line) > 80] == []


def test_help_and_readme_say_who_writes() -> None:
    """Both name the same commands as those that write to a cluster."""
    said = " ".join(bascule("--help").stdout.split())
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if "alone write to a cluster" in line)
    in_help = re.search(r"Only (.*) write to it", said)

    assert in_help
    assert set(re.findall(r"`(\w+)`", in_help[1])) == {"apply", "bridge", "connect", "operate"}
    assert set(re.findall(r"`(\w+)`", row.partition("; it, ")[2])) | {"apply"} == set(re.findall(r"`(\w+)`", in_help[1]))


def test_help_lists_commands_and_exit_codes() -> None:
    """The exit codes are a contract, and the first page shows it."""
    result = bascule("--help")

    assert result.exit_code == 0
    assert all(re.search(rf"^  {name} +{re.escape(words[2])}$", result.stdout, re.MULTILINE) for name, words in COMMANDS.items())
    assert re.search(r"^Exit codes:\n  0 .*\n(?:   .*\n)?  1 ", result.stdout, re.MULTILINE)


def test_help_imports_nothing_heavy() -> None:
    """`bascule --help` stays quick because neither a command nor what it needs is imported."""
    code = "import sys, generator.cli\ntry: generator.cli.main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    loaded = set(done.stderr.split())

    assert "click" in loaded
    assert not loaded & {
        "jsonpatch",
        "ruamel.yaml",
        "generator.desired.generate",
        "generator.cli.view",
        "importlib.metadata",
        "difflib",
    }


def test_version() -> None:
    """The version that is installed is printed, with the name of the program."""
    result = bascule("--version")

    assert (result.exit_code, result.stdout.split()[0]) == (0, "bascule")


def test_unknown_command_names_the_nearest() -> None:
    """A mistyped command is a usage error that helps."""
    result = bascule("explian")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Did you mean explain?" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The script of each shell calls the program with click's variable."""
    result = bascule("completion", shell)

    assert result.exit_code == 0
    assert f"_BASCULE_COMPLETE={shell}_complete" in result.stdout


def test_completes_commands() -> None:
    """The shell gets the commands that begin with what is there."""
    done = process(environment={"_BASCULE_COMPLETE": "bash_complete", "COMP_WORDS": "bascule pl", "COMP_CWORD": "1"})

    assert done.stdout == "plain,plan\n"


@pytest.mark.parametrize("name", [name for name in ON_FILES if name != "snapshot"])
def test_needs_input(name: str) -> None:
    """Without -f and without a kubeconfig a command shows how input is given."""
    extra = {"explain": ("GET", "/", *TARGET), "graph": TARGET[:2]}.get(name, ())
    result = bascule(name, *extra)
    said = " ".join(result.stderr.split())

    assert (result.exit_code, result.stdout) == (2, "")
    assert re.match(
        r"error ClusterUnreachable: the cluster: the kubeconfig /dev/null has no current-context; of contexts it has none", said
    )
    assert "Set KUBECONFIG to a kubeconfig file, or give --context; to read files instead: " in said
    assert f"| bascule {name} -f - -f bridges.yaml" in said


@pytest.mark.parametrize(
    "words",
    [
        ("bridge", "deployment/web", "--port", "8080:3000"),
        ("connect",),
        ("env", "deployment/web"),
        ("run", "deployment/web", "--", "true"),
        ("snapshot",),
    ],
)
def test_needs_a_cluster(words: tuple[str, ...]) -> None:
    """A command that is nothing without a cluster does not speak of files."""
    result = bascule(*words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error ClusterUnreachable: the cluster: the kubeconfig /dev/null has no current-context; ")
    assert result.stderr.endswith("\n  Set KUBECONFIG to a kubeconfig file, or give --context.\n")


@pytest.mark.parametrize("option", [("-n", "shop"), ("--context", "dev")])
def test_files_and_cluster_are_not_mixed_by_accident(option: tuple[str, str]) -> None:
    """An option of a cluster beside -f says that --live is missing; without it no cluster would be read."""
    result = bascule("plan", *option, "-f", save(cluster()))

    assert (result.exit_code, result.stdout) == (2, "")
    assert "add --live for both" in result.stderr


@pytest.mark.parametrize("name", ON_FILES)
def test_files_import_nothing_of_a_cluster(name: str) -> None:
    """A command on files stays quick: what talks to a cluster is not imported."""
    extra = {"explain": ("GET", "/", *TARGET), "graph": TARGET[:2]}.get(name, ())
    given = ("--help",) if name in ("apply", "snapshot") else (*extra, "-f", save([*cluster(), *bridges()]), *AT)
    call = f"try: generator.cli.main({[name, *given]!r})\nexcept SystemExit: pass"
    code = f"import sys, generator.cli\n{call}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    loaded = done.stderr.splitlines()[-1].split()

    assert done.stdout
    assert not {"pykube", "requests", "generator.live.kube"} & set(loaded)


def test_a_mistake_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception prints no traceback and no path, and exits with 2."""

    def broken(*_: object) -> None:
        raise KeyError("spec")

    monkeypatch.setattr("generator.cli.stream.generate", broken)
    result = bascule("render", "-f", save(cluster()))

    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"error Internal: KeyError: 'spec' \(test_cli\.py:\d+\); please report with the snapshot\n", result.stderr)


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """BASCULE_TRACEBACK=1 lets the exception through."""
    monkeypatch.setenv("BASCULE_TRACEBACK", "1")
    monkeypatch.setattr("generator.cli.stream.generate", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        bascule("render", "-f", save(cluster()))


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends quietly, with what a shell expects."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("generator.cli.stream.generate", interrupted)
    result = bascule("render", "-f", save(cluster()))

    assert (result.exit_code, result.output) == (130, "")


def test_interrupted_by_a_signal(tmp_path: Path) -> None:
    """The same for a process that waits for its input."""
    os.mkfifo(tmp_path / "in")
    with (
        subprocess.Popen([*PROGRAM, "plan", "-f", "in"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as running,
        (tmp_path / "in").open("wb"),  # waits until the other side reads
    ):
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()

    assert (running.returncode, out, err) == (130, b"", b"")


def test_nobody_reads() -> None:
    """A reader that goes away is no error to talk about."""
    file = save([*cluster(), *bridges()[:2]])
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [*PROGRAM, "render", "-f", file, *AT], stdout=closed, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False
        )

    assert (done.returncode, done.stderr) == (141, "")


# --- colour ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "no_color", "coloured"),
    [
        ((), (), "", False),
        (("--color", "always"), (), "", True),
        ((), ("--color", "always"), "", True),
        (("--color", "always"), ("--color", "never"), "", False),
        (("--color", "always"), (), "1", True),
        (("--color", "never"), (), "", False),
    ],
)
def test_colour(before: tuple[str, ...], after: tuple[str, ...], no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour is for terminals; --color says otherwise, before or after the command."""
    monkeypatch.setenv("NO_COLOR", no_color)
    result = bascule(*before, "plan", *after, "-f", save([*cluster(), *bridges()]), *AT)

    assert ("\x1b[" in result.stdout) is coloured


@pytest.mark.parametrize(("no_color", "expected"), [("", None), ("1", False)])
def test_no_color_on_a_terminal(no_color: str, expected: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR (no-color.org) turns colour off where `auto` would give it; empty counts as unset."""
    monkeypatch.setenv("NO_COLOR", no_color)
    with main.make_context("bascule", ["plan"]) as context:
        assert context.color is expected


@pytest.mark.parametrize("name", ["plan", "check", "diff"])
def test_colour_changes_no_text(name: str) -> None:
    """Without the escapes a coloured output is the plain one."""
    arguments = (name, "-f", save([*cluster(), *bridges()]), *AT)
    plain, coloured = bascule(*arguments), bascule("--color", "always", *arguments)

    assert click.unstyle(coloured.stdout) == plain.stdout


# --- input -----------------------------------------------------------------------------------------------------------

GOOD = text.write_yaml(cluster())
BRIDGE = text.write_yaml(bridges()[:2])
GARBAGE = bytes(range(256)) * 40_000
PRINTABLE = (b"{[: ,-\"'*&!%@x\n" * 700_000)[:10_000_000]

BAD: dict[str, tuple[str, str, bytes | str]] = {
    "malformed YAML": ("YamlSyntax", "in.yaml, document 1, line 3", "apiVersion: v1\nmetadata: {name: [\n"),
    "malformed JSON": ("YamlSyntax", "in.yaml", '{"apiVersion": "v1", '),
    "no object": ("NotAnObject", "in.yaml, document 1", "- 1\n"),
    "no name": ("NotAnObject", "in.yaml, document 1", "apiVersion: v1\nkind: Pod\nmetadata: {}\n"),
    "empty": ("NotAnObject", "in.yaml", "\n"),
    "duplicate key": ("DuplicateKey", "in.yaml, document 1, line 5", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n"),
    "YAML 1.1 boolean": (
        "AmbiguousScalar",
        "in.yaml, document 1, line 4",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: yes}\n",
    ),
    "octal mode": (
        "AmbiguousScalar",
        "in.yaml, document 1, line 4",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {mode: 0644}\n",
    ),
    "not text": ("NotText", "in.yaml", GARBAGE),
    "10 MB of printable garbage": ("YamlSyntax", "in.yaml", PRINTABLE),
    "the same object twice": ("DuplicateObject", "Service shop/web", GOOD + GOOD.replace("port: 80\n", "port: 81\n")),
    "wrong type": (
        "WrongType",
        "GefyraBridge gefyra/john: portMappings",
        GOOD + re.sub("portMappings:\n- .*\n", "portMappings: 3000\n", BRIDGE),
    ),
    "wrong type in a Kubernetes object": (
        "WrongType",
        "Service shop/web: spec.selector",
        GOOD.replace("selector:\n    app: web\n  type", "selector: web\n  type"),
    ),
    "unknown field": ("UnknownField", "GefyraBridge gefyra/john: destinationIp", GOOD + BRIDGE.replace("destinationIP", "destinationIp")),
    "bad time": ("BadTime", "GefyraBridge gefyra/john: sunset", GOOD + BRIDGE.replace("destinationIP", "sunset: tomorrow\ndestinationIP")),
    "unknown target": ("TargetUnknown", "GefyraBridgeMount gefyra/web", GOOD + BRIDGE.replace("deploy/web", "deploy/wbe")),
    "half a snapshot": (
        "SnapshotIncomplete",
        "Deployment shop/web",
        text.write_yaml([o for o in cluster() if o["kind"] != "ReplicaSet"]) + BRIDGE,
    ),
}
READERS = {
    "render": ("render",),
    "render files": ("render", "--output-dir", "out"),
    "diff": ("diff",),
    "plan": ("plan",),
    "explain": ("explain", "GET", "/", *TARGET),
    "graph": ("graph", *TARGET[:2]),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(("code", "place", "content"), BAD.values(), ids=BAD)
def test_bad_input(code: str, place: str, content: bytes | str, reader: tuple[str, ...], tmp_path: Path) -> None:
    """Bad input is said with code, place and cure on standard error; nothing is printed and nothing is written."""
    Path("in.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = bascule(*reader, "-f", "in.yaml", *AT)

    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(rf"^error {code}: {re.escape(place)}", result.stderr, re.MULTILINE), result.stderr
    assert re.search(r"^  \S", result.stderr, re.MULTILINE), "no cure"
    assert "Internal" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.yaml"]


REPORTED = ("wrong type", "unknown field", "bad time", "unknown target", "half a snapshot")
"""Bad input that can be read, so that it is a finding about a bridge or mount."""
UNREADABLE = [name for name in BAD if name not in REPORTED]


@pytest.mark.parametrize(("code", "place", "content"), [BAD[name] for name in REPORTED], ids=REPORTED)
def test_check_reports_what_is_wrong_with_a_bridge(code: str, place: str, content: bytes | str) -> None:
    """That is its output, as text and as JSON, beside all else that is wrong."""
    assert isinstance(content, str)
    other = kube.bridge("zoe", "web", [kube.rule(kube.path("no-slash"))], client="zoe")
    other["metadata"]["uid"] = "1"
    Path("in.yaml").write_text(content + text.write_yaml([other]))
    result = bascule("check", "-f", "in.yaml", *AT)

    assert (result.exit_code, result.stderr) == (2, "")
    assert f"error {code}: {place}" in " ".join(result.stdout.split())
    assert "refused RuleInvalid: GefyraBridge gefyra/zoe" in " ".join(result.stdout.split())
    assert result.stdout.endswith(": the input cannot be used\n")
    assert {code, "RuleInvalid"} <= {p["code"] for p in asked("check", "-f", "in.yaml")["problems"]}


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize(("code", "place", "content"), [BAD[name] for name in UNREADABLE], ids=UNREADABLE)
def test_check_has_no_report_of_what_cannot_be_read(code: str, place: str, content: bytes | str, output: str) -> None:
    """Standard error says why, as for every command; a reader of standard output never gets half a report."""
    Path("in.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = bascule("check", "-f", "in.yaml", *AT, "-o", output)

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error {code}: {place.partition(', ')[0]}" in result.stderr


@pytest.mark.parametrize("name", ON_FILES)
def test_a_file_that_is_not_there_is_said_on_standard_error(name: str) -> None:
    """By every command that takes one; there is no other output."""
    extra = {"explain": ("GET", "/", *TARGET), "graph": TARGET[:2], "status": ("-o", "json")}.get(name, ())
    if name == "snapshot":
        assert "--filename" not in bascule(name, "--help").stdout
        return
    result = bascule(name, *extra, "-f", "nope.yaml")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error FileNotReadable: nope.yaml: ")


@pytest.mark.parametrize("name", ["nope.yaml", ".", "a\0b"])
def test_file_not_there(name: str) -> None:
    """What cannot be read is named."""
    result = bascule("render", "-f", name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error FileNotReadable: {printable(name)}")


@pytest.mark.parametrize("now", ["", "yesterday", "2026-11-24", "2026-11-24T22:00:00", "2026-02-30T00:00:00Z"])
def test_bad_now(now: str) -> None:
    """A time that is none is an error of the input."""
    result = bascule("render", "-f", save(cluster()), "--now", now)

    assert (result.exit_code, result.stdout) == (2, "")
    assert "error BadTime: --now: " in result.stderr


def places(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to each part of a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, part in items:
        yield (*above, step)
        yield from places(part, (*above, step))


def damaged(value: Any, way: tuple[str | int, ...], part: Any) -> Any:
    """The value with another part at the end of the way; REMOVED takes it out."""
    step, *rest = way
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[step] = damaged(value[step], tuple(rest), part)
    elif part is REMOVED:
        del copy[step]
    else:
        copy[step] = part
    return copy


REMOVED = object()
STREAM = [*cluster(), *bridges()]
NAMING = {("apiVersion",), ("kind",), ("metadata",), ("metadata", "name")}
WAYS = [(number, way) for number, obj in enumerate(STREAM) for way in places(obj) if way not in NAMING]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(WAYS), st.sampled_from((REMOVED, None, 7, True, "x", "", [], {}, ["x"], {"x": 1})))
def test_any_damage_is_borne_or_said(at: tuple[int, tuple[str | int, ...]], part: Any) -> None:
    """An object with any field of any wrong type, or without it, is either usable or an error with its place, never a mistake of ours."""
    number, way = at
    objects = [damaged(obj, way, part) if n == number else obj for n, obj in enumerate(STREAM)]
    Path("in.json").write_text(json.dumps(objects))
    result = bascule("diff", "-f", "in.json", *AT)

    assert result.exit_code in (0, 1, 2)
    assert "Internal" not in result.stderr
    assert (result.exit_code == 2) == bool(re.search("^error ", result.stderr, re.MULTILINE))


@pytest.mark.parametrize("mistake", [{"targt": "x"}, {"portMappings": "3000:8080"}, {"sunset": "soon"}, {"target": "nothing"}])
def test_what_is_wrong_in_the_cluster_keeps_only_itself_out(mistake: dict[str, Any]) -> None:
    """A bridge that has a uid blocks nobody else, whatever is wrong with it; in a file of one's own it is an error."""
    theirs = {**kube.bridge("zoe", "web", []), **mistake}
    live = {**theirs, "metadata": {**theirs["metadata"], "uid": "1"}}
    given = ("explain", "GET", "/jane", *TARGET, "-f")

    assert bascule(*given, save([*cluster(), *bridges(), theirs]), *AT).exit_code == 2
    result = bascule(*given, save([*cluster(), *bridges(), live]), *AT)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "jane gets it")
    assert bascule("check", "-f", save([*cluster(), *bridges(), live]), *AT).exit_code == 1


def test_every_error_of_the_input_is_tried_here() -> None:
    """The table above has each code of severity `input`."""
    tried = {code for code, _, _ in BAD.values()} | {"FileNotReadable", "FileNotWritable", "ClusterUnreachable"}

    tried |= {"ClusterForbidden"}  # tests/test_live_cli.py
    tried |= {"OptionInvalid", "ClientUnusable", "SshMissing"}  # tests/test_bridge_command.py, tests/test_live_bridge.py
    tried |= {"NotInstalled", "KeyUnusable", "RelayUnreachable"}  # tests/test_bridging.py
    tried |= {"KubeconfigInvalid", "CredentialPluginFailed"}  # tests/test_kubeconfig.py

    assert tried == {code for code, entry in CODES.items() if entry.severity == "input"}


@pytest.mark.parametrize("field", ["client", "name", "providerParameter"])
@pytest.mark.parametrize("name", ["status", "check", "plan", "diff", "explain"])
def test_nothing_of_others_moves_the_terminal(name: str, field: str) -> None:
    """A title, an erased screen, an overwritten line, a line of its own, text turned around: all of it is shown as it is spelled."""
    hostile = "x\x1b]0;t\x07\x1b[2J\x9b2J\r\u202e\x7f\nerror Faked: x"
    mount, john, *others = bridges()
    (john["metadata"] if field == "name" else john)[field] = {"mode": hostile} if field == "providerParameter" else hostile
    eve = kube.bridge("later", "web", [kube.rule(kube.path("/api/objects/5"), kube.header("owner", "john"))], client="eve")
    objects = save([*cluster(), mount, john, *others, eve])
    given = [name, *(("GET", "/", *TARGET) if name == "explain" else ()), "-f", objects, *AT]
    result = CliRunner().invoke(main, given, prog_name="bascule", catch_exceptions=False, color=True)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", result.output)  # our own colours

    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    assert "\nerror Faked" not in shown
    assert r"\x1b]0;t\x07\x1b[2J\x9b2J" in shown


def test_several_files_and_stdin_are_one_stream() -> None:
    """Files, standard input, YAML and JSON add up to the same snapshot."""
    whole = bascule("render", "-f", save([*cluster(), *bridges()]), *AT)
    Path("bridges.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": bridges()}))
    parts = bascule("render", "-f", "-", "-f", "bridges.json", *AT, stdin=text.write_yaml(cluster()))

    assert (whole.exit_code, parts.exit_code) == (0, 0)
    assert parts.stdout == whole.stdout != ""


def test_streams_and_exit_code_of_a_process() -> None:
    """Outside of the test runner too: problems on standard error, objects on standard output, no colour in a pipe."""
    done = process("render", "-f", save([*cluster(), *bridges()]), *AT)
    bad = process("plan", "-f", "nope.yaml")

    assert done.returncode == 0
    assert {o["kind"] for o in yaml.safe_load_all(done.stdout)} >= {"Pod", "Service", "gefyrabridge"}
    assert "warning EndpointUnresolved: GefyraBridge gefyra/bob" in done.stderr
    assert (bad.returncode, bad.stdout, "\x1b" in bad.stderr) == (2, "", False)


# --- render ----------------------------------------------------------------------------------------------------------


def test_render_formats_agree() -> None:
    """YAML, JSON and the table hold the same objects; nginx is the text of the ConfigMap."""
    objects, now = end([*cluster(), *bridges()])
    given = ("render", "-f", save(objects), "--now", now)
    as_yaml = list(yaml.safe_load_all(bascule(*given).stdout))
    as_json = json.loads(bascule(*given, "-o", "json").stdout)
    rows = [row for row in bascule(*given, "-o", "text").stdout.splitlines() if not row.startswith(" ")]
    nginx = bascule(*given, "-o", "nginx").stdout

    assert as_json["objects"] == as_yaml
    assert [f"{r['kind']} {r['namespace']}/{r['name']}" for r in as_json["reasons"]] == [" ".join(row.split()[:2]) for row in rows]
    config = next(o for o in as_yaml if o["kind"] == "ConfigMap")
    assert nginx == f"# ConfigMap shop/{config['metadata']['name']}\n{config['data']['nginx.conf']}"


def test_render_without_bridges_is_empty() -> None:
    """Nothing asked, nothing there: nothing is printed."""
    result = bascule("render", "-f", save(cluster()))

    assert (result.exit_code, result.output) == (0, "")


def test_output_dir() -> None:
    """One file per object, named after it, that together are what standard output has."""
    given = ("render", "-f", save([*cluster(), *bridges()]), *AT)
    result = bascule(*given, "--output-dir", "out")
    written = {path.name: path.read_text() for path in Path("out").glob("*.yaml")}

    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {len(written)} files to out" in result.stderr
    assert "service-shop-deployment-web-shadow.yaml" in written
    assert sorted(written.values()) == sorted("---\n" + part for part in bascule(*given).stdout.split("---\n")[1:])
    assert Path("out/.bascule-files").read_text().split() == sorted(written)


def test_output_dir_again_removes_what_is_stale() -> None:
    """A second run replaces its own files, removes those nobody needs, and leaves others alone."""
    bascule("render", "-f", save([*cluster(), *bridges()]), *AT, "--output-dir", "out")
    Path("out/README.md").write_text("mine")
    result = bascule("render", "-f", save([*cluster(), *bridges()[:2]]), *AT, "--output-dir", "out")

    assert "removed gefyrabridge-gefyra-bob.yaml, gefyrabridge-gefyra-jane.yaml" in result.stderr
    assert {"README.md", "gefyrabridge-gefyra-john.yaml"} <= {path.name for path in Path("out").iterdir()}
    assert not Path("out/gefyrabridge-gefyra-bob.yaml").exists()


def test_output_dir_spares_foreign_files() -> None:
    """A file of that name which bascule did not write stops it before anything is written."""
    Path("out").mkdir()
    Path("out/service-shop-deployment-web-shadow.yaml").write_text("mine")
    result = bascule("render", "-f", save([*cluster(), *bridges()]), *AT, "--output-dir", "out")

    assert result.exit_code == 2
    assert "error FileNotWritable: out/service-shop-deployment-web-shadow.yaml" in result.stderr
    assert {path.name: path.read_text() for path in Path("out").iterdir()} == {"service-shop-deployment-web-shadow.yaml": "mine"}


def test_output_dir_follows_no_link() -> None:
    """A link in the place of a file that is being written leads nowhere else; an index that is no text is read as none of ours."""
    given = ("render", "-f", save([*cluster(), *bridges()]), *AT, "--output-dir", "out")
    assert bascule(*given).exit_code == 0
    name = min(Path("out").glob("*.yaml")).name
    Path("victim").write_text("keep")
    for part in (name, folder.INDEX):
        Path("out", f"{part}.bascule-part").symlink_to(Path("victim").absolute())
    assert bascule(*given).exit_code == 0
    assert Path("victim").read_text() == "keep"
    assert not [path for path in Path("out").iterdir() if path.is_symlink()]
    Path("out", folder.INDEX).write_bytes(b"\xff")
    again = bascule(*given)
    assert (again.exit_code, again.stderr.count("FileNotWritable") > 0) == (2, True)


def test_output_dir_writes_all_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle leaves the folder as it was."""
    real, calls = Path.write_text, []

    def full(self: Path, content: str, **more: Any) -> int:
        calls.append(self)
        if len(calls) == 3:
            raise OSError(28, "No space left on device", str(self))
        return real(self, content, **more)

    file = save([*cluster(), *bridges()])
    monkeypatch.setattr(Path, "write_text", full)
    result = bascule("render", "-f", file, *AT, "--output-dir", "out")

    assert result.exit_code == 2
    assert "FileNotWritable" in result.stderr
    assert "No space left" in result.stderr
    assert list(Path("out").iterdir()) == []


def test_output_dir_that_is_a_file() -> None:
    """What cannot be a folder is said."""
    Path("out").write_text("")
    result = bascule("render", "-f", save([*cluster(), *bridges()]), *AT, "--output-dir", "out")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "error FileNotWritable: out" in result.stderr


def test_file_names_stay_in_the_folder() -> None:
    """A name from the input never leads elsewhere, and two objects never share a file."""
    keys = [Key("Pod", "a", "../../etc/passwd"), Key("Pod", "a-b", "c"), Key("Pod", "a", "b-c"), Key("Pod", "a", "x" * 300)]
    found = folder.file_names(keys)

    assert len(set(found.values())) == len(keys)
    assert all("/" not in name and len(name) < 255 for name in found.values())
    assert folder.file_name(Key("NetworkPolicy", "shop", "web.v1")) == "networkpolicy-shop-web.v1.yaml"


@pytest.mark.parametrize("given", [("render", "--output-dir"), ("env", "deployment/web", "--files")])
@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_folder_that_can_have_no_such_name(given: tuple[str, ...], name: str, tmp_path: Path) -> None:
    """It is an error of the command line, before anything is read or written."""
    result = bascule(*given, name)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Usage: bascule {given[0]} ")
    assert f"Invalid value for '{given[-1]}': {name!r} is no folder's name" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_output_dir_is_yaml() -> None:
    """Another format for the folder is a usage error, not a surprise."""
    result = bascule("render", "-f", save(cluster()), "--output-dir", "out", "-o", "json")

    assert (result.exit_code, Path("out").exists()) == (2, False)


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_exit_codes() -> None:
    """0: no differences, 1: differences."""
    objects, now = end([*cluster(), *bridges()])
    same, other = bascule("diff", "-f", save(objects), "--now", now), bascule("diff", "-f", save([*cluster(), *bridges()]), *AT)

    assert (same.exit_code, same.stdout) == (0, "no differences\n")
    assert other.exit_code == 1
    assert re.fullmatch(r"\d+ create, 0 patch, 0 delete; .*", other.stdout.splitlines()[-1])


def test_diff_shows_a_rule_change_line_by_line() -> None:
    """A new rule shows as the lines of nginx.conf that change, under the object and the reason, without the rest."""
    objects, now = end([*cluster(), *bridges()])
    changed = [
        kube.bridge("john", "web", [kube.rule(kube.header("owner", "johnny"))], client="john") if o["metadata"]["name"] == "john" else o
        for o in objects
    ]
    result = bascule("diff", "-f", save(changed), "--now", now)
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("~ ConfigMap shop/"))
    part = lines[start : lines.index("", start)]

    assert result.exit_code == 1
    assert any(line.startswith("-") and "john" in line for line in part)
    assert any(line.startswith("+") and "johnny" in line for line in part)
    assert "@@ data.nginx.conf @@" in part
    config = next(o for o in objects if o["kind"] == "ConfigMap")["data"]["nginx.conf"]
    assert 2 * len(part) < len(config.splitlines())
    assert not any(noise in result.stdout for noise in ("resourceVersion", "managedFields", "podIP", "uid:"))


def test_diff_names_the_field_of_a_hunk() -> None:
    """What stands above a change in the YAML is said where it is cut off."""
    run = fold([*cluster(), *bridges()], kube.NOW, limit=5)
    result = bascule("diff", "-f", save(list(run.end)), "--now", run.now)

    assert result.exit_code == 1
    assert re.search(r"^~ Pod shop/web-\S+: swap: .*\n@@ metadata\.annotations @@\n", result.stdout, re.MULTILINE)
    assert re.search(
        rf"^@@ spec\.containers @@\n(?: .*\n)*-  - image: localhost/echo:1\n\+  - image: {names.DEFAULT_CARRIER_IMAGE}\n",
        result.stdout,
        re.MULTILINE,
    )


def test_patches_are_guarded() -> None:
    """Each patch in JSON begins with a test, so that it fails on another object."""
    objects, _ = end([*cluster(), *bridges()])
    found = asked("diff", "-f", save([o for o in objects if o["metadata"]["name"] != "john"]))

    patches = [c["patch"] for c in found["changes"] if c["op"] == "patch"]
    assert len(patches) > 1
    assert all(patch[0]["op"] == "test" for patch in patches)


def test_secrets_are_masked() -> None:
    """No value of a Secret is printed, nor what kubectl noted of it; another object is left as it is."""
    applied = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"key":"aHVudGVyMg=="}}', "note": "kept"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": applied},
        "data": {"key": "aHVudGVyMg=="},
        "stringData": {"k": "hunter2"},
    }
    shown = data.masked(secret)

    assert shown["data"] == {"key": "***"}
    assert shown["stringData"] == {"k": "***"}
    assert "aHVudGVyMg" not in str(shown)
    assert "note" in shown["metadata"]["annotations"]
    assert data.masked(cluster()[0]) is not None
    assert data.masked(secret | {"kind": "ConfigMap"})["data"] == secret["data"]


# --- plan and clean --------------------------------------------------------------------------------------------------


def test_plan_reads_well() -> None:
    """The counts come first, then numbered steps with reasons, then how it ends; 80 columns."""
    result = bascule("plan", "-f", save([*cluster(), *bridges()]), *AT)
    lines = result.stdout.splitlines()

    assert result.exit_code == 0
    assert re.fullmatch(r"\d+ create, \d+ patch, \d+ delete; 3 containers restart; 0 objects of yours edited", lines[0])
    assert re.fullmatch(r"\d+ steps, about \d+ seconds; .*", lines[1])
    steps = [int(found[1]) for line in lines if (found := re.match(r" *(\d+)\. [+~-] ", line))]
    assert steps == list(range(1, steps[-1] + 1))
    assert re.search(r"\+ 3 Pods shop/web-shadow-[0-9a-f]{8}-\{0,1,2\}\n +shadow: ", result.stdout)
    assert "(3 containers restart)" in result.stdout
    assert "bridges jane, john ACTIVE" in result.stdout
    assert "bridge bob REQUESTED: EndpointUnresolved" in result.stdout
    assert max(map(len, lines)) <= 80


def test_plan_with_nothing_to_do() -> None:
    """A cluster that is as it should be has no steps."""
    objects, now = end([*cluster(), *bridges()])
    result = bascule("plan", "-f", save(objects), "--now", now)

    assert result.exit_code == 0
    assert result.stdout.startswith("nothing to do\n")


def test_plan_that_finds_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that never settles exits with 1 and shows what is still done."""
    monkeypatch.setattr("generator.cli.plan.fold", lambda objects, now: fold(objects, now, limit=2))
    result = bascule("plan", "-f", save([*cluster(), *bridges()]), *AT)

    assert result.exit_code == 1
    assert "No end is found in 2 steps. The last one still does:" in result.stdout


def test_clean_takes_everything_away() -> None:
    """The steps of `clean` begin with what users asked for and end with nothing of ours."""
    objects, now = end([*cluster(), *bridges()])
    result = bascule("clean", "-f", save(objects), "--now", now)

    assert result.exit_code == 0
    assert "  1. - 3 GefyraBridges gefyra/{bob,jane,john}" in result.stdout
    assert "     - GefyraBridgeMount gefyra/web" in result.stdout
    assert "- Service shop/deployment-web-shadow" in result.stdout
    left = fold([o for o in objects if not o["kind"].startswith("gefyra")], now).end
    assert bascule("clean", "--check", "-f", save(list(left))).output == "nothing of bascule is left\n"


def test_clean_check_finds_every_trace() -> None:
    """Objects of ours, marks on Pods, bridges and mounts are listed, and exit with 1."""
    objects, _ = end([*cluster(), *bridges()])
    result = bascule("clean", "--check", "-f", save(objects))
    found = asked("clean", "--check", "-f", "in.yaml")["left"]

    assert result.exit_code == 1
    kinds = [each["kind"] for each in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "ConfigMap": 1,
        "GefyraBridge": 3,
        "GefyraBridgeMount": 1,
        "Pod": 6,
        "Service": 1,
    }
    assert sum("container app is a carrier" in each["what"] for each in found) == 3
    assert bascule("clean", "--check", "-f", save(cluster())).exit_code == 0


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_exit_codes() -> None:
    """Warnings are no failure, a refusal is; each problem has code, place, message and cure."""
    fine = bascule("check", "-f", save([*cluster(), *bridges()[:2]]), *AT)
    warned = bascule("check", "-f", save([*cluster(), *bridges()]), *AT)
    twin = kube.bridge("zoe", "web", [kube.rule(kube.path("/jane"))], client="zoe")
    refused = bascule("check", "-f", save([*cluster(), *bridges(), twin]), *AT)

    assert (fine.exit_code, fine.stdout) == (0, "nothing is wrong; 1 bridge, 1 mount with a target\n")
    assert (warned.exit_code, warned.stdout.splitlines()[-1]) == (0, "3 warnings; 3 bridges, 1 mount with a target")
    assert refused.exit_code == 1
    assert refused.stdout.startswith("refused RuleIdentical: GefyraBridge gefyra/zoe\n  on port 8080, ")
    assert "\n  > Add a condition" in refused.stdout
    assert refused.stdout.splitlines()[-1] == "1 refusal, 3 warnings; 4 bridges, 1 mount with a target"


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_of_some() -> None:
    """A bridge with its target, or a mount, that is named; all others are left out."""
    given = ("status", "-f", save([*cluster(), *bridges()]))
    john, mount = (asked(given[0], name, *given[1:]) for name in ("john", "web"))

    assert [b["name"] for b in john["bridges"]] == ["john"]
    assert [t["mount"] for t in john["targets"]] == ["web"]
    assert ([b["name"] for b in mount["bridges"]], [t["mount"] for t in mount["targets"]]) == ([], ["web"])


@pytest.mark.parametrize("output", ["text", "json", "yaml"])
@pytest.mark.parametrize(
    ("names_", "said"),
    [
        (("jon",), "no bridge or mount is called 'jon'\n  Did you mean john?\n"),
        (("john", "zzz"), "no bridge or mount is called 'zzz'\n  `bascule status` shows all there are.\n"),
        (("jo\x1bn",), "no bridge or mount is called 'jo\\x1bn'\n  Did you mean john"),
    ],
)
def test_status_of_nobody(names_: tuple[str, ...], said: str, output: str) -> None:
    """A name that is of no bridge and no mount is an error, with those that are spelt like it; nothing is shown."""
    result = bascule("status", *names_, "-f", save([*cluster(), *bridges()]), *AT, "-o", output)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error TargetUnknown: NAME: {said}")


@pytest.mark.parametrize(
    ("leader", "operator", "runs"),
    [
        (None, None, "Unknown"),
        (Leader(None), None, "Unknown"),
        (Leader(""), None, "False"),
        (Leader("bascule-operator-7d9f"), "bascule-operator-7d9f", "True"),
    ],
    ids=["files", "forbidden", "none", "one"],
)
def test_status_tells_no_operator_from_an_unknown_one(leader: Leader | None, operator: str | None, runs: str) -> None:
    """Nobody known to lead is two things: that nobody does, and that it was not found out."""
    found = status.as_data(Status((), (), kube.NOW, leader))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)

    assert (found["operator"], found["operatorRuns"]) == (operator, runs)


# --- explain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "winner", "by"),
    [
        (("GET", "/api/objects/5/items", "-H", "owner: john"), "john", "bridge"),
        (("GET", "http://web/api/objects/5?x=1", "-H", "Owner:john"), "john", "bridge"),
        (("GET", "/api/objects/50", "-H", "owner: john"), None, "cluster"),
        (("GET", "/api/objects/5", "-H", "owner: john", "-H", "x-user: jane"), "john", "bridge"),
        (("GET", "/jane/x"), "jane", "bridge"),
        (("GET", "/bob"), "bob", "cluster"),
        (("GET", "/jane", "-H", "User-Agent: kube-probe/1.36"), None, "cluster"),
        (("GET", "/../etc"), None, "carrier"),
        (("TRACE", "/jane"), None, "carrier"),
    ],
)
def test_explain(request_: tuple[str, ...], winner: str | None, by: str) -> None:
    """Who gets a request, as JSON and as text."""
    given = ("explain", *request_, *TARGET, "-f", save([*cluster(), *bridges()]))
    found, words = asked(*given), bascule(*given, *AT).stdout

    assert (found["winner"], found["answeredBy"]) == (winner, by)
    assert words.startswith(f"{winner} gets it\n" if winner else f"the {by} answers")


def test_explain_says_why_the_others_lost() -> None:
    """Each rule and each bridge that does not get it is there once, with its reason; the winner's rule is not."""
    zoe = kube.bridge("zoe", "web", [kube.rule(kube.path("/jane"))], client="zoe")
    broken = kube.bridge("joe", "web", [kube.rule(kube.path("no-slash"))], client="joe")
    other = kube.bridge("ann", "web", [], client="ann", ports=("3000:9090",))
    given = [*cluster(), *bridges(), zoe, broken, other]
    found = asked("explain", "GET", "/api/objects/5", "-H", "owner: john", "-H", "x-user: jane", *TARGET, "-f", save(given))
    reasons = {(c["bridge"], c["rule"]): (c["matched"], c["reason"]) for c in found["considered"]}

    assert found["winner"] == "john"
    assert found["pending"].startswith("INSTALLING")
    assert len(reasons) == len(found["considered"])
    assert sorted({bridge for bridge, _ in reasons}) == ["ann", "bob", "jane", "joe", "zoe"]
    assert [matched for (bridge, _), (matched, _) in reasons.items() if bridge == "jane"] == [True, False]
    assert "less specific" in next(reason for matched, reason in reasons.values() if matched)
    assert reasons["zoe", None][1].startswith("RuleIdentical: ")
    assert reasons["joe", None][1].startswith("RuleInvalid: ")
    assert not reasons["bob", 0][0]
    assert reasons["ann", None][1].startswith("PortUnknown: ")


def test_explain_a_bridge_without_a_connection() -> None:
    """Its requests are its own already, the cluster answers them until the connection is known, and nobody else gets them."""
    everything = kube.bridge("ann", "web", [], client="ann")
    found = asked("explain", "GET", "/bob", *TARGET, "-f", save([*cluster(), *bridges(), everything]))

    assert (found["winner"], found["answeredBy"]) == ("bob", "cluster")
    assert found["pending"].startswith("REQUESTED, port 8080: the connection provider has reported none yet")


def test_explain_a_mirror() -> None:
    """A bridge that mirrors wins its request, and the cluster answers it."""
    mirror = kube.bridge("zoe", "web", [], client="zoe", providerParameter={"mode": "mirror"})
    given = ("explain", "GET", "/", *TARGET, "-f", save([*cluster(), *bridges()[:1], mirror]))
    found = asked(*given)

    assert (found["winner"], found["answeredBy"], found["mode"]) == ("zoe", "cluster", "mirror")
    assert bascule(*given, *AT).stdout.startswith("zoe gets a copy, the cluster answers\n")


def test_explain_when_it_is_installed() -> None:
    """Once the carriers confirm it, nothing is pending."""
    objects, now = end([*cluster(), *bridges()])
    result = bascule("explain", "GET", "/jane", *TARGET, "-f", save(objects), "--now", now)

    assert result.stdout.startswith("jane gets it\n")
    assert "not yet" not in result.stdout


def test_explain_a_target_that_cannot_be_bridged() -> None:
    """A refused target sends everything to the cluster, and the reason is the target's."""
    objects = [*kube.deployment("web", {"app": "web"}, [kube.container()], 1, 1), *bridges()]
    for obj in objects:
        spec = obj.get("spec", {}).get("template", obj).get("spec")
        if spec:
            spec["hostNetwork"] = True
    found = asked("explain", "GET", "/jane", *TARGET, "-f", save(objects))

    assert found["winner"] is None
    assert "HostNetwork" in found["reason"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--target", "shop/deployment/wbe", "--port", "8080"), "TargetUnknown: --target: Deployment shop/wbe is not in the stream"),
        (("--target", "web", "--port", "8080"), "TargetUnknown: --target: 'web' is not [NAMESPACE/]KIND/NAME[/CONTAINER]"),
        (
            ("--target", "deployment/wbe", "--port", "8080"),
            "TargetUnknown: --target: Deployment wbe is not in the stream (there: shop/deployment/web)",
        ),
        (("--target", "deployment/web/side", "--port", "8080"), "TargetUnknown: --target: Deployment shop/web has no container 'side'"),
        (("--target", "a/shop/deployment/web/app", "--port", "8080"), "TargetUnknown: --target: "),
        (("--target", "shop/web", "--port", "8080"), "WorkloadKindUnsupported: --target: 'shop' is no kind that can be bridged"),
        (
            ("--target", "shop/deployment/web/side", "--port", "8080"),
            "TargetUnknown: --target: Deployment shop/web has no container 'side'",
        ),
        (("--target", "shop/job/web", "--port", "8080"), "WorkloadKindUnsupported: --target: "),
        (("--target", "shop/deploy/web", "--port", "80"), "PortUnknown: --port: "),
    ],
)
def test_explain_wants_a_target_that_is_there(arguments: tuple[str, ...], code: str) -> None:
    """A target or port that is not there is an error with what is."""
    result = bascule("explain", "GET", "/", *arguments, "-f", save([*cluster(), *bridges()]), *AT)

    assert (result.exit_code, result.stdout) == (2, "")
    assert code in result.stderr


@pytest.mark.parametrize("kind", ["deployment", "deploy", "Deployment"])
@pytest.mark.parametrize("command", [("explain", "GET", "/jane", "--port", "8080"), ("graph",)])
def test_a_target_has_several_names(command: tuple[str, ...], kind: str) -> None:
    """With or without namespace and container, and where there is one target only, none: always the same answer."""
    given = (*command, "-f", save([*cluster(), *bridges()]))
    names_ = [f"{kind}/web", f"{kind}/web/app", f"shop/{kind}/web", f"shop/{kind}/web/app"]
    answers = [asked(*given, *option) for option in ((), *(("--target", name) for name in names_))]

    assert all(answer == answers[0] for answer in answers)
    assert "jane" in str(answers[0])


def elsewhere_too() -> list[kube.Obj]:
    """The same Deployment again, in another namespace, that nobody bridges."""
    twins = [*kube.deployment("web", {"app": "web", "tier": "front"}, [kube.container()], 3, 1), kube.service("web", {"app": "web"})]
    for obj in twins:
        obj["metadata"]["namespace"] = "test"
    return list(settle(world(twins), kube.NOW).values())


def test_the_target_among_those_of_a_name() -> None:
    """Of two namespaces with such a workload the one is meant in which it is bridged."""
    found = asked(
        "explain", "GET", "/jane", "--target", "deployment/web", "--port", "8080", "-f", save([*cluster(), *elsewhere_too(), *bridges()])
    )

    assert found["winner"] == "jane"


@pytest.mark.parametrize(
    ("asked_for", "target", "message", "cure"),
    [
        (
            2,
            (),
            "there are 2 targets and none is named",
            "Give one of shop/deployment/web/app, test/deployment/web/app.",
        ),
        (2, ("--target", "deploy/web"), "Deployment web is in 2 namespaces", "Give one of shop/deployment/web, test/deployment/web."),
        (0, ("--target", "deploy/web"), "Deployment web is in 2 namespaces", "Give one of shop/deployment/web, test/deployment/web."),
        (0, (), "no bridge or mount has a target, and none is named", "Give --target shop/deployment/web."),
    ],
)
@pytest.mark.parametrize("command", [("explain", "GET", "/jane", "--port", "8080"), ("graph",)])
def test_a_target_that_is_one_of_several(
    command: tuple[str, ...], asked_for: int, target: tuple[str, ...], message: str, cure: str
) -> None:
    """What is meant is not guessed; the error names what there is, as it can be given."""
    both = [kube.bridge("zoe", "deploy/web", [], client="zoe", targetNamespace=n) for n in ("shop", "test")]
    both[1]["metadata"]["name"] = "zoe-too"
    result = bascule(*command, *target, "-f", save([*cluster(), *elsewhere_too(), *both[:asked_for]]), *AT)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error TargetUnknown: --target: {message}\n  {cure}\n"


def test_explain_finds_the_container_that_is_bridged() -> None:
    """Of several containers the only bridged one need not be named; with none bridged it must be."""
    containers = [kube.container(), kube.container("side", ports=(7000,))]
    objects = kube.deployment("web", {"app": "web"}, containers, 1, 1)
    named = asked("explain", "GET", "/jane", *TARGET, "-f", save([*objects, *bridges()]))
    silent = bascule("explain", "GET", "/jane", *TARGET, "-f", save(objects), *AT)

    assert named["winner"] == "jane"
    assert silent.exit_code == 2
    assert "ContainerAmbiguous: --target" in silent.stderr


def test_explain_refuses_half_a_header() -> None:
    """-H takes what curl takes."""
    result = bascule("explain", "GET", "/", "-H", "owner", *TARGET, "-f", save(cluster()))

    assert result.exit_code == 2
    assert "'Name: value'" in result.stderr


# --- JSON ------------------------------------------------------------------------------------------------------------

PHASES = {"before": 0, "in the middle": 4, "after": 60}


@pytest.mark.parametrize("rounds", PHASES.values(), ids=PHASES)
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("Render", ("render",)),
        ("Diff", ("diff",)),
        ("Plan", ("plan",)),
        ("Check", ("check",)),
        ("Status", ("status",)),
        ("Explain", ("explain", "GET", "/jane", *TARGET)),
        ("Clean", ("clean",)),
        ("Clean", ("clean", "--check")),
        ("Graph", ("graph", *TARGET[:2])),
    ],
)
def test_json_follows_its_schema(kind: str, arguments: tuple[str, ...], rounds: int) -> None:
    """Every command's JSON has version and kind, and is what docs/schema/cli-v1.json says, in every phase."""
    twin = kube.bridge("zoe", "web", [kube.rule(kube.path("/jane"))], client="zoe")
    objects = [*cluster(), *bridges(), twin]
    found = asked(*arguments, "-f", save(list(fold(objects, kube.NOW, limit=rounds).end) if rounds else objects))

    assert (found["apiVersion"], found["kind"]) == ("cli.bascule.dev/v1", kind)


def test_schema_is_a_schema() -> None:
    """The schema itself is valid, and refuses what is not there."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = {"apiVersion": "cli.bascule.dev/v1", "kind": "Check", "problems": []}
    validator = jsonschema.Draft202012Validator(SCHEMA)

    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "kind": "Chekc"})
    assert not validator.is_valid({**good, "more": 1})


def test_plan_as_yaml_is_plan_as_json() -> None:
    """The two formats hold the same."""
    given = ("plan", "-f", save([*cluster(), *bridges()]), *AT)

    assert yaml.safe_load(bascule(*given, "-o", "yaml").stdout) == json.loads(bascule(*given, "-o", "json").stdout)


# --- names in braces -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["web"], ["+ web"]),
        (["web-0", "web-1"], ["+ web-{0,1}"]),
        (["web-10", "web-11"], ["+ web-{10,11}"]),
        (["a", "b"], ["+ {a,b}"]),
        ([f"p-{i:02}" for i in range(20)], ["+ p-{00,01,02,03,04,05,06,07,08,09,10,", "         11,... 8 more}"]),
    ],
)
def test_braces(given: list[str], expected: list[str]) -> None:
    """Names are cut at a dash only, wrapped, and counted after a dozen."""
    assert braced(given, "+ ", 40) == expected


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("plan", "--help"), ("completion", "bash")])
@pytest.mark.parametrize("errors", ["/dev/null", "/dev/full"])
def test_a_full_disk_is_said_and_no_traceback(words: tuple[str, ...], errors: str) -> None:
    """Whatever is printed: exit code 2, also where the error finds no room either."""
    with Path("/dev/full").open("w") as full, Path(errors).open("w") as err:
        command = [sys.executable, "-m", "generator", *words]
        assert subprocess.run(command, stdout=full, stderr=err, check=False).returncode == 2
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("name", ["", "A", "a b", "../../pods", "a.b", "-a", "a" * 64])
@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("snapshot",),
        ("clean", "--live", "-f", "-"),
        ("bridge", "deployment/web", "--port", "8080:3000"),
        ("env", "deployment/web"),
        ("run", "deployment/web"),
    ],
)
def test_no_namespace_is_called_so(words: tuple[str, ...], name: str) -> None:
    """It is said before anything is asked of a cluster, as it would be a part of addresses."""
    more = ["--", "true"] if words[0] == "run" else []
    found = CliRunner().invoke(main, [*words, "-n", name, *more], env={"KUBECONFIG": "/dev/null"})
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error OptionInvalid: --namespace: {name!r} is no namespace's name\n")

"""The environment of a container, from its spec and what that names."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from generator.cli import main
from generator.cli.environment import dotenv, start
from generator.cluster.snapshot import Key, Obj
from generator.environment import Find, environment, expanded
from generator.errors import InputError

OBJECTS: dict[Key, Obj] = {
    Key("ConfigMap", "shop", "settings"): {"kind": "ConfigMap", "data": {"MODE": "fast", "URL": "http://$(HOST)"}},
    Key("Secret", "shop", "login"): {
        "kind": "Secret",
        "data": {"password": base64.b64encode(b"s3cret\n").decode(), "raw": base64.b64encode(b"\xff").decode()},
    },
}


def find(key: Key) -> Obj | str:
    """What the test's cluster has."""
    return OBJECTS.get(key, "it is not there")


def of(env: list[Any], find_: Find = find, **more: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment of a container with these entries, in a running Pod."""
    resources = {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}
    app = {"name": "app", "env": env, "resources": resources, **more}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "shop", "uid": "u", "labels": {"app": "web"}, "annotations": {"a.example/b": "c"}},
        "spec": {"containers": [{"name": "side"}, app], "nodeName": "node1"},
        "status": {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}], "hostIP": "192.0.2.1"},
    }
    return environment(pod, "app", find_)


def ref(kind: str, **fields: Any) -> dict[str, Any]:
    """An entry X with a source."""
    return {"name": "X", "valueFrom": {kind: fields}}


def test_later_entries_win() -> None:
    """`env` over `envFrom`, and in each the last; a prefix goes before each name."""
    sources = [{"configMapRef": {"name": "settings"}}, {"prefix": "S_", "secretRef": {"name": "login"}}]
    values, missing = of([{"name": "MODE", "value": "slow"}, {"name": "E"}], envFrom=sources)

    assert values == {"MODE": "slow", "URL": "http://$(HOST)", "S_password": "s3cret\n", "E": ""}
    assert missing == ()


def test_expansion() -> None:
    """As the API documents it: what stands before is known, what does not stay as they are, $$ is a dollar sign."""
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$$(A)-$(C)-$A-$"}, {"name": "C", "value": "3"}]
    assert of(env)[0]["B"] == "1-$(A)-$(C)-$A-$"


@given(st.text("$()AB ", max_size=30))
def test_expansion_without_values_only_halves_dollars(text: str) -> None:
    """Nothing else is touched where no name is known."""
    assert expanded(text.replace("$", "$$"), {}) == text


def test_what_a_pod_says_of_itself() -> None:
    """Every path that the API admits for a variable."""
    paths = {
        "metadata.name": "web-0",
        "metadata.namespace": "shop",
        "metadata.uid": "u",
        "metadata.labels['app']": "web",
        "metadata.annotations['a.example/b']": "c",
        "metadata.labels['none']": "",
        "spec.nodeName": "node1",
        "spec.serviceAccountName": "default",
        "status.hostIP": "192.0.2.1",
        "status.podIP": "10.0.0.7",
        "status.podIPs": "10.0.0.7,fd00::7",
    }
    assert {p: of([ref("fieldRef", fieldPath=p)])[0]["X"] for p in paths} == paths


def test_resources() -> None:
    """Divided and rounded up; a request that is not set is the limit."""
    asked = {("limits.cpu", None): "2", ("limits.cpu", "1m"): "1500", ("limits.memory", "1Mi"): "64", ("requests.cpu", "1m"): "250"}
    asked |= {("requests.memory", None): str(64 * 1024 * 1024), ("limits.memory", "0"): str(64 * 1024 * 1024)}
    found = {(r, d): of([ref("resourceFieldRef", resource=r, **({"divisor": d} if d else {}))])[0]["X"] for r, d in asked}
    assert found == asked


def test_what_is_missing_is_said_and_left_out() -> None:
    """Each with its reason; what may be absent is not missed."""
    env = [
        ref("configMapKeyRef", name="none", key="a"),
        ref("secretKeyRef", name="login", key="raw"),
        ref("secretKeyRef", name="login", key="none", optional=True),
        ref("resourceFieldRef", containerName="side", resource="limits.cpu"),
        ref("fileKeyRef", key="a"),
    ]
    values, missing = of(env, envFrom=[{"configMapRef": {"name": "no"}}, {"secretRef": {"name": "no", "optional": True}}])

    assert values == {}
    assert missing == (
        "ConfigMap no: it is not there",
        "X: ConfigMap none: it is not there",
        "X: Secret login has no text at 'raw'",
        "X: limits.cpu of container side is not set; the node decides",
        "X: valueFrom.fileKeyRef is not known here",
    )


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=4
    )
)
def test_a_shell_reads_what_is_printed(values: dict[str, str]) -> None:
    """Any value, also with quotes, dollar signs and line ends."""
    names = sorted(values)
    script = dotenv({f"T_{n}": values[n] for n in names}) + "".join(f'printf "%s\\0" "$T_{n}"\n' for n in names)
    done = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [values[n] for n in names]
    assert done.stderr == b""


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    """A file without a first line that names its interpreter; it is named."""
    script = tmp_path / "script"
    script.write_text("echo a\n")
    script.chmod(0o755)
    with pytest.raises(InputError, match=f"OptionInvalid: PROGRAM: {script} cannot be run: Exec format error"):
        start(str(script), (str(script),), {}, {})


@pytest.mark.parametrize(("name", "value"), [("A", "hush\0hush"), ("A=B", "hush")])
def test_a_variable_that_no_process_can_have(name: str, value: str) -> None:
    """As a Secret may have one; it is named, and its value is not shown."""
    with pytest.raises(InputError, match=f"OptionInvalid: variable {name}: ") as caught:
        start("/bin/true", ("true",), {"GOOD": "d", name: value}, {})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("words", [("sh", "-c", "a"), ("true",)])
def test_options_of_the_program_are_its_own(words: tuple[str, ...]) -> None:
    """-c is also a container here, and --context of ours: what belongs to whom is said by --, which has to be there."""
    settings = {"KUBECONFIG": os.devnull}
    without = CliRunner().invoke(main, ["run", "deployment/web", *words], env=settings)
    divided = CliRunner().invoke(main, ["run", "deployment/web", "-n", "shop", "--", *words], env=settings)

    assert (without.exit_code, divided.exit_code) == (2, 2)
    assert "Write -- before the program" in without.stderr
    assert "ClusterUnreachable" in divided.stderr


def test_a_misspelt_option_is_not_taken_for_a_programs() -> None:
    """Before -- all options are ours."""
    done = CliRunner().invoke(main, ["run", "deployment/web", "--contianer", "app", "--", "true"], env={"KUBECONFIG": os.devnull})
    assert "No such option" in done.stderr
    assert "-- PROGRAM..." in CliRunner().invoke(main, ["run", "--help"]).stdout

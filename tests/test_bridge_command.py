"""`bascule bridge`, before a cluster is asked: what is typed becomes a bridge, and each mistake names its option."""

from __future__ import annotations

import os
from typing import Any

import pytest
from click.testing import CliRunner, Result

from generator.asked.bridge import decode_bridge
from generator.cli import asking, main
from generator.cluster.snapshot import Obj
from generator.errors import InputError

NOW = "2026-11-27T22:00:00Z"
NONE: dict[str, tuple[str, ...]] = {}


def bascule(*arguments: str) -> Result:
    """A command without a cluster."""
    environment = {"KUBECONFIG": os.devnull, "COLUMNS": "100", "NO_COLOR": "1"}
    return CliRunner().invoke(main, arguments, prog_name="bascule", env=environment, catch_exceptions=False)


def asked(conditions: dict[str, tuple[str, ...]] = NONE, **more: Any) -> Obj:
    """The bridge for a command line."""
    words: dict[str, Any] = {
        "target": "deploy/web",
        "namespace": "shop",
        "ports": ("8080:3000",),
        "conditions": conditions,
        "name": "",
        "client": "alice",
        "fallback": "cluster",
        "ttl": None,
        "held": True,
    }
    return asking.bridge(asking.Wanted(**{**words, **more}), NOW)


def test_the_bridge_of_a_command_line() -> None:
    """As Gefyra's schema has it; all conditions stand in one rule, so that all must hold."""
    made = asked(
        {"--header": ("x-user=a=b",), "--path-prefix": ("/api",), "--method": ("post",)},
        target="deploy/web/app",
        ttl=7200.0,
        fallback="error",
    )

    assert made == {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "metadata": {
            "name": made["metadata"]["name"],
            "namespace": "gefyra",
            "labels": {"gefyra.dev/client": "alice"},
            "annotations": {"bascule.dev/away-grace": "60"},
        },
        "provider": "carrier2",
        "connectionProvider": "relay",
        "client": "alice",
        "target": "deployment/web",
        "targetNamespace": "shop",
        "targetContainer": "app",
        "portMappings": ["3000:8080"],
        "providerParameter": {
            "fallback": "error",
            "rules": [
                {
                    "match": [
                        {"matchHeader": {"name": "x-user", "value": "a=b", "type": "exact"}},
                        {"matchPath": {"path": "/api", "type": "prefix"}},
                        {"matchMethod": {"method": "POST"}},
                    ]
                }
            ],
        },
        "sunset": "2026-11-28T00:00:00Z",
    }
    assert decode_bridge(made)[1] == ()


def test_the_same_words_name_the_same_bridge() -> None:
    """A command that is run again takes up its bridge; another target, port, rule or client makes another."""
    others = [
        asked({"--path": ("/a",)}),
        asked(ports=("8080:3001",)),
        asked(target="deploy/api"),
        asked(client="bob"),
        asked(namespace="store"),
        asked(target="deploy/web/app"),
    ]
    names = {o["metadata"]["name"] for o in (asked(), *others)}

    assert asked()["metadata"]["name"] == asked(ttl=60.0, held=False)["metadata"]["name"]
    assert len(names) == 1 + len(others)
    assert all(len(o["metadata"]["name"]) <= 63 for o in (asked(target="deploy/" + "w" * 200, client="c" * 45), *others))


def test_a_detached_bridge_stays_without_its_client() -> None:
    """Only what a command holds itself goes by itself."""
    assert "annotations" not in asked(held=False)["metadata"]


@pytest.mark.parametrize(
    ("words", "place", "example"),
    [
        (("web", "--port", "8080:3000"), "TARGET", "deployment/web"),
        (("job/web", "--port", "8080:3000"), "TARGET", "deployment/web"),
        (("deployment/web/app/more", "--port", "8080:3000"), "TARGET", "deployment/web/app"),
        (("deployment/web", "--port", "8080"), "--port", "--port 8080:3000"),
        (("deployment/web", "--port", "8080:99999"), "--port", "--port 8080:3000"),
        (("deployment/web", "--port", "8080:3000", "--port", "8080:3001"), "portMappings", "Map each REMOTE once"),
        (("deployment/web", "--port", "8080:3000", "--header", "x-user"), "--header", "--header user=alice"),
        (("deployment/web", "--port", "8080:3000", "--header", "x user=a"), "--header", "x-user"),
        (("deployment/web", "--port", "8080:3000", "--header", "x-user="), "--header", "x-user"),
        (("deployment/web", "--port", "8080:3000", "--query", "=a"), "--query", "--query user=alice"),
        (("deployment/web", "--port", "8080:3000", "--cookie", "a"), "--cookie", "--cookie user=alice"),
        (("deployment/web", "--port", "8080:3000", "--path-prefix", "api"), "--path-prefix", "/api"),
        (("deployment/web", "--port", "8080:3000", "--path", "/a?b"), "--path", "/api"),
        (("deployment/web", "--port", "8080:3000", "--method", "G T"), "--method", "POST"),
        (("deployment/web", "--port", "8080:3000", "--client", "Alice"), "--client", "--client alice"),
        (("deployment/web", "--port", "8080:3000", "--name", "a b"), "--name", "--name alice-web"),
        (("deployment/web", "--port", "8080:3000", "--ttl", "0"), "--ttl", "--ttl 2h"),
    ],
)
def test_a_mistake_names_its_option_and_an_example(words: tuple[str, ...], place: str, example: str) -> None:
    """Code, place and example; exit code 2, before a cluster is looked for."""
    result = bascule("bridge", *words)

    assert (result.exit_code, result.stdout) == (2, "")
    assert place in result.stderr
    assert example in result.stderr
    assert result.stderr.startswith(("error ", "refused "))


@pytest.mark.parametrize("words", [("deployment/web",), ("deployment/web", "--port", "8080:3000", "--ttl", "soon"), ()])
def test_click_says_the_rest(words: tuple[str, ...]) -> None:
    """A missing option, a bad duration."""
    result = bascule("bridge", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: bascule bridge" in result.stderr


def test_two_conditions_that_never_meet() -> None:
    """Two methods, or two exact paths: the bridge would get nothing."""
    with pytest.raises(InputError, match="RuleNeverFires"):
        asked({"--method": ("GET", "POST")})


@pytest.mark.parametrize(
    ("user", "name"),
    [("alice", "alice"), ("arn:aws:eks:eu:1:cluster/Dev", "arn-aws-eks-eu-1-cluster-dev"), ("x" * 80, "x" * 45), ("Ä.b", "b")],
)
def test_the_client_is_called_as_the_kubeconfigs_user(user: str, name: str) -> None:
    """As a DNS label."""
    assert asking.client_name(None, user) == name


def test_a_machine_without_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with any uid: the kubeconfig's user is enough, and without one --client is asked for."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 9)

    assert asking.client_name(None, "alice") == "alice"
    with pytest.raises(InputError, match="Give --client alice"):
        asking.client_name(None, "")


def test_ports_of_the_relay() -> None:
    """Only what the operator has given, only of the relay's own, and only of a bridge that goes through it."""
    made = asked(ports=("8080:3000", "9090:3001"))
    given = {**made, "clusterEndpoint": {"8080": "bascule-relay.gefyra.svc.cluster.local:20032"}}

    assert asking.relay_ports(made) == {}
    assert asking.relay_ports(given) == {20032: 3000}
    assert asking.relay_ports({**given, "clusterEndpoint": {"8080": "elsewhere.example:20032"}}) == {}
    assert asking.relay_ports({**given, "connectionProvider": "stowaway"}) == {}

"""Kubeconfigs: several files as one, and each mistake as an error with its file, its field and an example."""

from __future__ import annotations

import json
import re
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.cli import main
from generator.cluster.snapshot import Obj
from generator.errors import InputError
from generator.live import entries, kubeconfig, reading
from generator.live.failures import KubeError, NoCredential, Unreachable, failure
from generator.live.kube import connect
from tests.cluster.certificates import Authority
from tests.small_api import small_api

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, where the kubeconfig is `config`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", "config")
    monkeypatch.delenv("BASCULE_TRACEBACK", raising=False)
    return tmp_path


def config(cluster: Any = None, user: Any = None, **more: Any) -> Obj:
    """A kubeconfig with the context dev of alice."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "dev",
        "clusters": [{"name": "shared", "cluster": {"server": NOWHERE, **(cluster or {})}}],
        "users": [{"name": "alice", "user": user or {}}],
        "contexts": [{"name": "dev", "context": {"cluster": "shared", "user": "alice"}}],
        **more,
    }


def save(content: object, name: str = "config") -> None:
    """A file with it."""
    at = Path(name)
    at.parent.mkdir(exist_ok=True, parents=True)
    at.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())


def bascule(*words: str) -> Result:
    """A command, on 80 columns."""
    return CliRunner().invoke(main, words, env={"COLUMNS": "80"})


def flat(text: str) -> str:
    """Without line ends and colons: `check` has place and message on lines of their own."""
    return re.sub(r"[\s:>]+", " ", text)


def plugin(script: str, **more: Any) -> Obj:
    """A user who logs in by a Python program."""
    stanza = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": ["-c", script], **more}
    return {"exec": {name: value for name, value in stanza.items() if value is not None}}


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BAD: dict[str, tuple[object, str, str]] = {
    # what is in the file -> code, place and part of the message
    "not YAML": (b"clusters: [\n  {\n", "YamlSyntax", "config, document 1, line "),
    "not YAML beside a token": (b"users: [{name: a, user: {token: hidden]]\n", "YamlSyntax", "config, document 1, line 1, column 39"),
    "a tab": (b"clusters:\n\t- name: x\n", "YamlSyntax", "config, document 1, line 2"),
    "not text": (b"\xff\xfe\x00", "NotText", "config: the kubeconfig is not UTF-8 text"),
    "a list": (b"[1, hidden]", "KubeconfigInvalid", "config: a list or a text stands where one mapping belongs"),
    "two documents": (b"{a: 1}\n---\n{b: 1}\n", "KubeconfigInvalid", "config: 2 documents stand where"),
    "nested": (b"[" * 5000, "YamlSyntax", "config, document 1"),
    "clusters: 5": (config(clusters=5), "KubeconfigInvalid", "config: clusters: it is not a list"),
    "users by name": (config(users={"alice": {"token": "hidden"}}), "KubeconfigInvalid", "config: users: it is not a list"),
    "users: [5]": (config(users=[5]), "KubeconfigInvalid", "config: users[0]: it is not a name with a mapping `user`"),
    "a user without a name": (config(users=[{"user": {}}]), "KubeconfigInvalid", "config: users[0]: it is not a name"),
    "a user twice": (config(users=[{"name": "a", "user": {}}] * 2), "KubeconfigInvalid", "config: users[1]: the name 'a' is there twice"),
    "no contexts": (config(contexts=None), "KubeconfigInvalid", "config: current-context: there is no context 'dev'"),
    "no such context": (config(**{"current-context": "prod"}), "KubeconfigInvalid", "there is no context 'prod'"),
    "no current context": (config(**{"current-context": ""}), "ClusterUnreachable", "has no current-context; of contexts it has dev"),
    "a context of nothing": (
        config(contexts=[{"name": "dev"}]),
        "KubeconfigInvalid",
        "config: contexts.dev.cluster: no cluster is named",
    ),
    "no such cluster": (config(clusters=[]), "KubeconfigInvalid", "config: contexts.dev.cluster: there is no cluster 'shared'"),
    "no such user": (config(users=None), "KubeconfigInvalid", "config: contexts.dev.user: there is no user 'alice'"),
    "a namespace that is a list": (
        config(contexts=[{"name": "dev", "context": {"cluster": "shared", "namespace": ["a"]}}]),
        "KubeconfigInvalid",
        "config: contexts.dev.namespace: a list or a mapping is not text",
    ),
    "no server": (config({"server": ""}), "KubeconfigInvalid", "config: clusters.shared.server: it is missing"),
    "half a URL": (config({"server": "http//x"}), "KubeconfigInvalid", "config: clusters.shared.server: 'http//x' is no URL of a host"),
    "a blank in a URL": (config({"server": "https://a b"}), "KubeconfigInvalid", "config: clusters.shared.server: "),
    "a port too high": (config({"server": "https://a:65536"}), "KubeconfigInvalid", "config: clusters.shared.server: "),
    "a server that is a list": (config({"server": [1]}), "KubeconfigInvalid", "config: clusters.shared.server: a list or"),
    "proxy-url: 5": (config({"proxy-url": 5}), "KubeconfigInvalid", "config: clusters.shared.proxy-url: '5' is no URL of a host"),
    "skip that is text": (
        config({"insecure-skip-tls-verify": "yes"}),
        "KubeconfigInvalid",
        "config: clusters.shared.insecure-skip-tls-verify: 'yes' is not true or false",
    ),
    "not base64": (
        config({"certificate-authority-data": "%%%"}),
        "KubeconfigInvalid",
        "config: clusters.shared.certificate-authority-data: it is not base64",
    ),
    "not PEM": (
        config({"certificate-authority-data": b64encode(PEM.encode()).decode()}),
        "KubeconfigInvalid",
        "config: clusters.shared.certificate-authority-data: it holds no certificate",
    ),
    "no authority": (config({"certificate-authority": "ca.crt"}), "KubeconfigInvalid", "config: clusters.shared.certificate-authority: /"),
    "no token file": (config(user={"tokenFile": "token"}), "KubeconfigInvalid", "config: users.alice.tokenFile: /"),
    "a folder for a file": (config(user={"tokenFile": "."}), "KubeconfigInvalid", "Is a directory"),
    "a device": (
        config({"certificate-authority": "/dev/null"}),
        "KubeconfigInvalid",
        "config: clusters.shared.certificate-authority: /dev/null: no path of a file",
    ),
    "no path": (config(user={"tokenFile": "a\0b"}), "KubeconfigInvalid", "config: users.alice.tokenFile: "),
    "no certificate": (
        config(user={"client-certificate": "a.crt", "client-key": "config"}),
        "KubeconfigInvalid",
        "config: users.alice.client-certificate: /",
    ),
    "no key": (config(user={"client-certificate": "config", "client-key": "a.key"}), "KubeconfigInvalid", "users.alice.client-key: /"),
    "half a pair": (
        config(user={"client-certificate": "config"}),
        "KubeconfigInvalid",
        "client-key: it is missing beside client-certificate",
    ),
    "the other half": (config(user={"client-key": "config"}), "KubeconfigInvalid", "client-certificate: it is missing beside client-key"),
    "keys that are none": (
        config(user={"client-certificate": "config", "client-key": "config"}),
        "KubeconfigInvalid",
        "config: users.alice.client-key: it is no key without a passphrase",
    ),
    "a token of two words": (
        config(user={"token": "hidden word"}),
        "KubeconfigInvalid",
        "config: users.alice.token: it holds what no token",
    ),
    "a token that is a list": (config(user={"token": ["hidden"]}), "KubeconfigInvalid", "config: users.alice.token: a list or a mapping"),
    "exec: 5": (config(user={"exec": 5}), "KubeconfigInvalid", "config: users.alice.exec: it is not a mapping"),
    "exec without apiVersion": (
        config(user=plugin("", apiVersion=None)),
        "KubeconfigInvalid",
        "users.alice.exec.apiVersion: it is missing",
    ),
    "exec of another apiVersion": (config(user=plugin("", apiVersion="v1")), "KubeconfigInvalid", "exec.apiVersion: 'v1' is none of exec"),
    "exec without command": (config(user=plugin("", command=None)), "KubeconfigInvalid", "users.alice.exec.command: no program is named"),
    "exec with odd args": (config(user=plugin("", args=[["x"]])), "KubeconfigInvalid", "users.alice.exec.args: it is not a list of texts"),
    "exec with odd env": (config(user=plugin("", env=[5])), "KubeconfigInvalid", "users.alice.exec.env: it is not a list of names"),
    "a provider that is gone": (
        config(user={"auth-provider": {"name": "gcp"}}),
        "KubeconfigInvalid",
        "users.alice.auth-provider: only oidc",
    ),
    "a plugin that is not there": (
        config(user=plugin("", command="no-such-login")),
        "CredentialPluginFailed",
        "exec plugin no-such-login: it cannot be run: No such file or directory",
    ),
    "a plugin that fails": (
        config(user=plugin("import sys; sys.exit('please log\\nin')")),
        "CredentialPluginFailed",
        "it ended with 1: please log in",
    ),
    "a plugin of other words": (
        config(user=plugin("print('hidden')")),
        "CredentialPluginFailed",
        "it printed no ExecCredential with a token",
    ),
    "a plugin of a list": (config(user=plugin("print('[]')")), "CredentialPluginFailed", "it printed no ExecCredential with a token"),
    "a plugin without a token": (
        config(user=plugin("""print('{"status": {"token": "", "clientKeyData": "hidden"}}')""")),
        "CredentialPluginFailed",
        "it printed no ExecCredential with a token",
    ),
}


@pytest.mark.parametrize("words", [("check",), ("bridge", "deployment/web", "--port", "8080:3000")], ids=lambda w: w[0])
@pytest.mark.parametrize(("content", "code", "said"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_with_its_place_and_an_example(content: object, code: str, said: str, words: tuple[str, ...]) -> None:
    """Whatever the command: exit code 2, the code, where it is and how it is cured; no word of Python's, and no secret."""
    save(content)
    result = bascule(*words)
    told = flat(result.output)

    assert result.exit_code == 2
    assert told.startswith(f"error {code} ")
    assert flat(said) in told
    assert re.search(r"\n  (?:> )?(?:An example: |[A-Z`]|client-key begins).{10}", result.output)
    for word in ("Error:", "Errno", "None", "<class", "dict", "Traceback", "Internal", "_ssl", "hidden"):
        assert word not in result.output


SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([NOWHERE, "dev", "alice", "shared", "config", "http//x"]),
    lambda below: (
        st.lists(below, max_size=2) | st.dictionaries(st.text(max_size=3) | st.sampled_from(["name", "value"]), below, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = [*(f for part in entries.EXAMPLES.values() for f in part), "auth-provider", "insecure-skip-tls-verify"]


@given(
    where=st.sampled_from([(), ("clusters",), ("users",), ("contexts",), ("clusters", 0), ("users", 0), ("contexts", 0)])
    | st.tuples(st.sampled_from(["clusters", "users", "contexts"]), st.just(0), st.sampled_from(["cluster", "user", "context", "name"]))
    | st.builds(
        lambda part, field: (part, 0, kubeconfig._PARTS[part], field),
        st.sampled_from(["clusters", "users", "contexts"]),
        st.sampled_from(FIELDS),
    )
    | st.sampled_from(["apiVersion", "command", "args", "env", "installHint"]).map(lambda f: ("users", 0, "user", "exec", f)),
    what=SHAPES,
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_anywhere_is_used_or_placed(where: tuple[Any, ...], what: Any) -> None:
    """A law: with any value in any place a kubeconfig is one that can be used, or an error of ours; never one of Python's."""
    content: Any = config(user=plugin("")) if "exec" in where else config()
    at = content
    for step in where[:-1]:
        at = at[step]
    if where:
        at[where[-1]] = what
    save(content if where else what)
    places = ["config"]
    try:
        kubeconfig.chosen(None)
    except InputError as error:
        places = [p.place for p in error.problems]
    except KubeError:
        pass  # no such context

    assert all(place.startswith("config") for place in places)


# --- several files ---------------------------------------------------------------------------------------------------


def test_files_are_merged_and_the_first_wins(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    """As kubectl does: for a name, and for current-context; nothing of a later entry of that name is taken; missing files are none."""
    first = {"current-context": "", "users": [{"name": "alice", "user": {"tokenFile": "mine"}}]}
    second = config({"certificate-authority": "ca.crt"}, {"token": "not-mine", "username": "x"})
    third = config({"server": "http://127.0.0.1:3"}, **{"current-context": "prod"})
    save(first, "a/one")
    save(b"first", "a/mine")
    save(second, "b/two")
    save({**third, "contexts": [{"name": "prod", "context": {"cluster": "shared"}}]}, "three")
    Authority(Path("b"))
    monkeypatch.setenv("KUBECONFIG", "missing:a/one::b/two:three")
    kube, prod = connect(), connect("prod")

    assert (kube.server, prod.server) == (NOWHERE, NOWHERE)
    assert (kube.user, prod.user) == ("alice", "")
    assert kube._config.user == {"tokenFile": str(elsewhere / "a/mine")}
    assert kube.dial().headers == {"Authorization": "Bearer first"}
    assert kube._config.cluster["certificate-authority"].filename() == str(elsewhere / "b/ca.crt")


def test_the_place_of_a_mistake_is_the_file_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the second file; and a mistake in one that is not needed is told too, as kubectl does."""
    save(config(), "one")
    save({"users": [{"name": "alice", "user": {}}, 5]}, "two")
    monkeypatch.setenv("KUBECONFIG", "one:two")

    assert bascule("snapshot").stderr.startswith("error KubeconfigInvalid: two: users[1]: ")


def test_no_file_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that were looked for are named; an empty KUBECONFIG is none."""
    monkeypatch.setenv("KUBECONFIG", "one:two")
    assert bascule("snapshot").stderr.startswith("error ClusterUnreachable: the cluster: there is no kubeconfig one, two\n")
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", "/nowhere")
    assert bascule("snapshot").stderr.startswith("error ClusterUnreachable: the cluster: there is no kubeconfig ~/.kube/config\n")


def test_numbers_are_names() -> None:
    """As with kubectl: 12345 and yes are text where text belongs, in a file that is JSON or YAML."""
    save(json.dumps(config()).replace('"alice"', "12345").replace('"dev"', "true").encode())
    assert connect().user == connect("true").user == "12345"
    save(
        b"current-context: yes\ncontexts: [{name: yes, context: {cluster: c, namespace: 7}}]\nclusters: [{name: c, cluster: {server: 'http://x'}}]"
    )
    assert connect().namespace == "7"


# --- plugins ---------------------------------------------------------------------------------------------------------

COUNTED = """
import json, os, pathlib
with open("calls", "a") as f: f.write(os.environ["PROFILE"])
print(json.dumps({"status": {"token": "good", "expirationTimestamp": os.environ["UNTIL"]}}))
"""


@pytest.mark.parametrize(
    ("until", "calls"), [("2999-01-01T00:00:00Z", "d"), ("2000-01-01T00:00:00Z", "ddd"), ("0001-01-01T00:00:00Z", "d"), ("soon", "d")]
)
def test_a_plugin_is_asked_again_when_its_token_ends(until: str, calls: str) -> None:
    """Its environment is that of the kubeconfig, where numbers are text; a time that is none counts as a minute."""
    save(config(user=plugin(COUNTED, env=[{"name": "PROFILE", "value": "d"}, {"name": "UNTIL", "value": until}])))
    kube = connect()

    assert [kube.dial().headers for _ in range(2)] == [{"Authorization": "Bearer good"}] * 2
    assert Path("calls").read_text() == calls


def test_a_plugin_beside_the_kubeconfig(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    """A command with a slash is looked for from the folder of its file."""
    save(config(user=plugin("", command="./login", args=[5])), "there/config")
    save(b'#!/bin/sh\necho \'{"status": {"token": "of-\'$1\'"}}\'\n', "there/login")
    (elsewhere / "there/login").chmod(0o700)

    monkeypatch.setenv("KUBECONFIG", "there/config")
    assert connect().dial().headers == {"Authorization": "Bearer of-5"}


def test_a_login_that_fails_later_is_no_missing_right() -> None:
    """While a command runs, a token's file that goes and a plugin that fails are what they are, whatever is asked."""
    with small_api() as api:
        save(b"good\n", "token")
        save(config({"server": api.kube.server}, {"tokenFile": "token"}))
        kube = connect()
        Path("token").unlink()
        with pytest.raises(NoCredential, match=r"token: No such file or directory") as caught:
            reading.read(kube, ("shop",))

    assert caught.value.problem.code == "KubeconfigInvalid"


# --- answers ---------------------------------------------------------------------------------------------------------


ITEMS: list[Any] = [5, [5], ["x"], [{}], [{"metadata": {}}], [{"metadata": 5}]]
ANSWERS: list[Any] = [
    *("hello", 5, None, [], {}, {"items": []}, {"metadata": 5}, {"metadata": {}, "items": []}),
    *({"metadata": {"resourceVersion": "1"}, "items": items} for items in ITEMS),
]


@pytest.mark.parametrize(
    "answer",
    ANSWERS,
    ids=str,
)
def test_an_answer_that_is_no_list_is_said(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of another kind, whose JSON means nothing here, is asked about, and nothing is taken for read."""
    with small_api() as api:
        monkeypatch.setattr(api, "answer", lambda *_: (200, answer))
        with pytest.raises(Unreachable, match="is this an API server"):
            api.kube.list_objects("Pod", "shop")
        save(config({"server": api.kube.server}))
        said = bascule("snapshot").stderr

    assert said.startswith(f"error ClusterUnreachable: {api.kube.server}: GET /api")
    assert "the answer is no Kubernetes object; is this an API server?\n  Check the address" in said


def test_http_where_tls_is_spoken_is_said() -> None:
    """As Go's net/http answers: 400, and a text that is no Status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"Client sent an HTTP request to an HTTPS server.\n")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        save(config({"server": f"http://127.0.0.1:{server.server_address[1]}"}))
        told = bascule("snapshot").stderr
        server.shutdown()
        thread.join()

    assert told.startswith("error ClusterUnreachable: http://127.0.0.1:")
    assert "Client sent an HTTP request to an HTTPS server.\n  Check the address" in told


def test_a_pods_account_that_is_not_whole(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    """What is missing of it is named: a file, or the address of the API server."""
    monkeypatch.delenv("KUBECONFIG")
    for each in ("KUBERNETES_SERVICE_HOST", "PYKUBE_KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setattr("generator.live.kube._ACCOUNT", elsewhere)
    head = "error ClusterUnreachable: the cluster: the Pod's account is not whole: "
    save(b"good", "token")
    assert bascule("snapshot").stderr.startswith(f"{head}{elsewhere}/namespace: No such file or directory\n")
    save(b"shop", "namespace")
    assert bascule("snapshot").stderr.startswith(f"{head}KUBERNETES_SERVICE_HOST is not set\n")


@given(body=st.dictionaries(st.sampled_from(["details", "message", "causes"]), SHAPES), seconds=SHAPES, causes=SHAPES)
def test_any_body_of_a_failure_is_an_error_of_ours(body: Obj, seconds: Any, causes: Any) -> None:
    """A law: what an answer that says no holds beside its status cannot break its reader."""
    for each in (body, {"details": {"retryAfterSeconds": seconds, "causes": causes}}):
        found = failure(429, each, {"Retry-After": "²"}, "GET /")
        assert isinstance(found, KubeError)
        assert found.retry_after > 0

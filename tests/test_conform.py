"""kubeconform, strict and offline, reads every golden object against the schemas of three Kubernetes versions."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import golden

TESTS = Path(__file__).parent
SCHEMAS = TESTS / "schemas"
VERSIONS = sorted(path.name for path in SCHEMAS.iterdir() if path.name[0].isdigit())
RECORDED_ON = VERSIONS[-1]

POD = """apiVersion: v1
kind: Pod
metadata: {name: web, labels: {a: b}}
spec:
  containers:
  - {name: web, image: nginx}
"""
BRIDGE = """apiVersion: gefyra.dev/v1
kind: gefyrabridge
metadata: {name: alice, namespace: gefyra, labels: {gefyra.dev/bridge-mount: web}}
provider: carrier2
connectionProvider: stowaway
providerParameter: {rules: [{match: [{matchHeader: {name: x-user, value: alice, type: exact}}]}]}
client: alice
destinationIP: 172.21.0.3
target: web
targetNamespace: ""
portMappings: ["8000:80"]
"""
MOUNT = """apiVersion: gefyra.dev/v1
kind: gefyrabridgemount
metadata: {name: web, namespace: gefyra}
provider: carrier2mount
providerParameter: {"443": {tls: {certificate: /tls/crt, key: {secret: {namespace: shop, name: web, key: tls.key}}}}}
target: deploy/web
targetNamespace: shop
targetContainer: web
"""


@pytest.fixture(scope="session")
def kubeconform() -> Path:
    """The binary, built from the pinned Go module; Go's own cache makes a second build a matter of a moment."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bascule"
    binary = cache / "kubeconform"
    module = "github.com/yannh/kubeconform/cmd/kubeconform"
    built = subprocess.run(["go", "build", "-o", binary, module], cwd=TESTS.parent / "tools", capture_output=True, text=True, check=False)

    assert built.returncode == 0, f"go build {module}: {built.stderr}"
    return binary


def conform(binary: Path, version: str, *files: Path) -> str:
    """What kubeconform has to say against `files`: nothing if they conform."""
    locations = (
        f"{SCHEMAS / version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        f"{SCHEMAS}/crd/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json",
    )
    command = [str(binary), "-strict", *(word for location in locations for word in ("-schema-location", location)), *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (result.returncode == 0) == (result.stdout + result.stderr == "")
    return result.stdout + result.stderr


def without_status(text: str) -> str:
    """`text` as it stands, less the top-level `status` of each document: only the server writes that."""
    return re.sub(r"(?m)^status:.*\n(?:[ ].*\n|\n)*", "", text)


@pytest.mark.parametrize("version", VERSIONS)
def test_desired_objects_conform(kubeconform: Path, version: str, tmp_path: Path) -> None:
    """Every golden object is one that the API server of each version takes as it is: no unknown field, no wrong type.

    The cases were recorded on the newest version; a field of `status` that an older one does not have is no fault of ours.
    """
    texts = {case.parent.name: case.read_text() for case in sorted(golden.GOLDEN.glob("*/desired.yaml"))}
    assert texts, "golden/ holds no desired.yaml"
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text if version == RECORDED_ON else without_status(text))

    assert conform(kubeconform, version, *sorted(tmp_path.iterdir())) == ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("good", [POD, BRIDGE, MOUNT], ids=["pod", "bridge", "mount"])
def test_schemas_take_a_good_object(kubeconform: Path, version: str, good: str, tmp_path: Path) -> None:
    """The schemas cut for a version are complete: nothing they refer to is missing."""
    (tmp_path / "good.yaml").write_text(good)

    assert conform(kubeconform, version, tmp_path / "good.yaml") == ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("good", "old", "new", "said"),
    [
        (POD, "image:", "imagex:", "imagex"),
        (POD, "{a: b}", "{a: yes}", "got boolean"),
        (POD, "kind: Pod", "kind: Pot", "could not find schema"),
        (BRIDGE, "portMappings", "portMapping", "portMapping"),
        (BRIDGE, "type: exact", "type: Exact", "must be one of"),
        (MOUNT, "target: deploy/web", "target: 1", "got number"),
    ],
    ids=["field", "yaml-1.1", "kind", "bridge-field", "match-type", "mount-type"],
)
def test_schemas_refuse_a_bad_object(kubeconform: Path, version: str, good: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    """Strict means strict: a misspelt field, a plain `yes`, an unknown kind or a wrong type is refused, and named."""
    (tmp_path / "bad.yaml").write_text(good.replace(old, new))

    assert said in conform(kubeconform, version, tmp_path / "bad.yaml")


def test_only_the_status_of_the_object_is_left_out() -> None:
    """Texts that merely contain the word stay, and so does the next document."""
    kept = "kind: Pod\nmetadata:\n  status: x\n"

    assert without_status(kept + "status:\n  message: |\n    a\n\n    b\n---\nkind: Service\n") == kept + "---\nkind: Service\n"

"""The Kubernetes schemas that tests/test_conform.py and tests/test_overlays.py need, cut from the Python package kubernetes-validate.

For each version: one small file a kind, named as kubeconform looks for it, and one `_definitions.json` with the
closure of what those kinds refer to. `$id` goes (it would send the reader to a web site that has no schemas), and
so do the descriptions (nine tenths of the text).

    make schemas
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSIONS = ("1.29", "1.34", "1.36")
KINDS = (
    "pod-v1 service-v1 configmap-v1 namespace-v1 node-v1 persistentvolumeclaim-v1 resourcequota-v1 "
    "deployment-apps-v1 statefulset-apps-v1 daemonset-apps-v1 replicaset-apps-v1 "
    "networkpolicy-networking-v1 endpointslice-discovery-v1 poddisruptionbudget-policy-v1 horizontalpodautoscaler-autoscaling-v2"
).split()
OVERLAYS = (
    "secret-v1 serviceaccount-v1 role-rbac-v1 rolebinding-rbac-v1 clusterrole-rbac-v1 clusterrolebinding-rbac-v1 "
    "customresourcedefinition-apiextensions-v1 validatingwebhookconfiguration-admissionregistration-v1 "
    "mutatingwebhookconfiguration-admissionregistration-v1 validatingadmissionpolicy-admissionregistration-v1 "
    "validatingadmissionpolicybinding-admissionregistration-v1 mutatingadmissionpolicy-admissionregistration-v1 "
    "mutatingadmissionpolicybinding-admissionregistration-v1"
).split()
"""What overlays/ has beside those; for the newest version."""
DEFINITIONS = "_definitions.json"


def references(schema: Any) -> set[str]:
    """The names of the definitions that `schema` refers to directly."""
    if isinstance(schema, list):
        return {name for item in schema for name in references(item)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"].rpartition("/")[2]} if isinstance(schema.get("$ref"), str) else set()
    return own | references(list(schema.values()))


def slim(schema: Any) -> Any:
    """`schema` without `$id`, descriptions and vendor extensions, its references relative to the file it lies in.

    A property may itself be called `description` or `x-kubernetes-...`: its value is a schema, which no description or extension is.
    """
    if isinstance(schema, list):
        return [slim(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: slim(value)
        for key, value in schema.items()
        if key not in ("$id", "$schema") and (isinstance(value, dict) or not (key == "description" or key.startswith("x-kubernetes-")))
    }
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = f"{DEFINITIONS}#/$defs/{kept['$ref'].rpartition('/')[2]}"
    return kept


def cut(source: Path, kinds: list[str]) -> dict[str, Any]:
    """File name -> schema, for one version's folder `source`."""
    definitions: dict[str, Any] = json.loads((source / DEFINITIONS).read_text())["$defs"]
    schemas = {kind: json.loads((source / f"{kind}.json").read_text()) for kind in kinds}
    needed: set[str] = set()
    wanted = references(list(schemas.values()))
    while wanted:
        needed |= wanted
        wanted = references([definitions[name] for name in wanted]) - needed
    return {
        DEFINITIONS: {"$defs": {name: slim(definitions[name]) for name in sorted(needed)}},
        **{f"{kind}.json": slim(schema) for kind, schema in schemas.items()},
    }


def main(folder: Path) -> None:
    """Write `folder`/VERSION/*.json, and nothing else stays there."""
    source = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema"
    for version in VERSIONS:
        place = folder / version
        place.mkdir(parents=True, exist_ok=True)
        for stale in place.glob("*.json"):
            stale.unlink()
        for name, schema in cut(source / f"v{version}.0-local-strict", [*KINDS, *(OVERLAYS if version == VERSIONS[-1] else ())]).items():
            (place / name).write_text(json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

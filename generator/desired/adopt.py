"""An object of ours as it should be, over what is live: ours wins where it is ours, the server's defaults and other people's notes stay.

The same idea as kapp's rebase rules: never fight over a field that somebody else owns.
"""

from __future__ import annotations

from generator import names
from generator.cluster import tracking
from generator.cluster.snapshot import Obj, Space, annotations_of, labels_of


def adopt(template: Obj, live: Obj | None) -> Obj:
    """What is ours in `template` over what is live: the server's defaults and other people's metadata stay."""
    if live is None:
        return template
    metadata = {**live["metadata"], **template["metadata"]}
    if live["kind"] != "Pod":
        metadata["labels"] = {**labels_of(live), **labels_of(template)}
    notes = {**{k: v for k, v in annotations_of(live).items() if not names.is_ours(k)}, **annotations_of(template)}
    if notes:
        metadata["annotations"] = notes
    else:
        metadata.pop("annotations", None)
    rest = {k: {**live.get(k, {}), **v} if k == "spec" else v for k, v in template.items() if k not in ("metadata", "apiVersion", "kind")}
    return {**live, "metadata": metadata, **rest}


def adopt_pod(template: Obj, live: Obj | None, space: Space) -> Obj:
    """A live shadow with our metadata and images; the rest of its spec cannot change and its hash says that it did not."""
    if live is None:
        return template
    result = adopt({k: v for k, v in template.items() if k != "spec"}, live)
    result["metadata"] = {**result["metadata"], "labels": _beside(labels_of(template), labels_of(live), space)}
    images = {c["name"]: c.get("image") for c in template["spec"]["containers"]}
    containers = [{**c, "image": images.get(c["name"], c.get("image"))} for c in live["spec"]["containers"]]
    return {**result, "spec": live["spec"] if containers == live["spec"]["containers"] else {**live["spec"], "containers": containers}}


def _beside(ours: dict[str, str], live: dict[str, str], space: Space) -> dict[str, str]:
    """Our labels of a Pod, and those that others have put on it and by which nothing in the namespace acts on it.

    A webhook that labels each Pod that is written would else have us write for ever.
    """
    labels = ours
    for key, value in sorted(tracking.strip_labels(live).items()):
        more = {**labels, key: value}
        others = key not in ours and not names.is_ours(key)
        if others and all(index.matching(more) == index.matching(ours) for index in (space.watchers, space.policies, space.peers)):
            labels = more
    return labels

"""Two versions of an object -> RFC 6902 operations that turn one into the other, guarded so that a stale patch fails closed.

Every operation that overwrites or removes is preceded by a `test` of the old value; every one on a list item by a `test` of
the item's name; and the patch as a whole by a `test` of resourceVersion. RFC 6902 section 5: a failed test fails the whole
patch, and the API server answers 422.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.cluster.snapshot import Obj

Op = dict[str, Any]

_LISTS_BY = {"containers": "name", "conditions": "type"}


def patch(live: Obj, desired: Obj) -> list[Op]:
    """The operations from `live` to `desired`, empty when they are equal. Both are the same object: kind, namespace, name."""
    operations = list(_mapping("", live, desired))
    if not operations:
        return []
    version = live["metadata"].get("resourceVersion")
    guard = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}] if version else []
    return [*guard, *operations]


def _escape(key: str) -> str:
    """A JSON Pointer reference token (RFC 6901 section 3)."""
    return key.replace("~", "~0").replace("/", "~1")


def _mapping(path: str, live: Obj, desired: Obj) -> Iterator[Op]:
    if live is desired:
        return
    for key in sorted(live.keys() | desired.keys()):
        at = f"{path}/{_escape(key)}"
        if key not in desired:
            yield {"op": "test", "path": at, "value": live[key]}
            yield {"op": "remove", "path": at}
        elif key not in live:
            yield {"op": "add", "path": at, "value": desired[key]}
        else:
            yield from _value(at, key, live[key], desired[key])


def _value(path: str, key: str, live: Any, desired: Any) -> Iterator[Op]:
    if live is desired or (type(live) is type(desired) and live == desired):
        return
    if isinstance(live, dict) and isinstance(desired, dict):
        yield from _mapping(path, live, desired)
    elif key in _LISTS_BY and _same_items(live, desired, _LISTS_BY[key]):
        name = _LISTS_BY[key]
        for index, (old, new) in enumerate(zip(live, desired, strict=True)):
            if changes := list(_mapping(f"{path}/{index}", old, new)):
                yield {"op": "test", "path": f"{path}/{index}/{name}", "value": old[name]}
                yield from changes
    else:
        yield {"op": "test", "path": path, "value": live}
        yield {"op": "replace", "path": path, "value": desired}


def _same_items(live: Any, desired: Any, name: str) -> bool:
    if not (isinstance(live, list) and isinstance(desired, list)):
        return False
    return [i.get(name) for i in live if isinstance(i, dict)] == [i.get(name) for i in desired if isinstance(i, dict)] and len(live) == len(
        desired
    )

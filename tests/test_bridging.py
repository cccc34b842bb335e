"""A bridge that a command writes: beside other writers, and over one that is there already."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from generator.cli import bridging
from generator.cluster.snapshot import Obj
from tests.small_api import Api, small_api
from tests.test_bridge_command import asked

AT = f"/apis/gefyra.dev/v1/namespaces/gefyra/gefyrabridges/{asked()['metadata']['name']}"


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server."""
    with small_api() as found:
        yield found


@pytest.mark.parametrize(("faster", "taken"), [(1, True), (100, False)])
def test_another_writer_is_faster(api: Api, faster: int, taken: bool) -> None:
    """The operator writes between our look and our word: it is read again, and what the operator wrote stays; not for ever."""
    api.keep(asked())
    written: list[str] = []

    def operator(method: str, _path: str) -> int:
        if method == "PUT" and len(written) < faster:
            written.append(_path)
            api.keep({**api.objects[AT], "clusterEndpoint": {"8080": f"a:{len(written)}"}})
        return 0

    api.before = operator
    if taken:
        bridging._write(api.kube, asked(fallback="error"))
    else:
        with pytest.raises(bridging._Declined, match="modified"):
            bridging._write(api.kube, asked(fallback="error"))
    assert api.objects[AT]["clusterEndpoint"] == {"8080": f"a:{len(written)}"}
    assert (api.objects[AT]["providerParameter"]["fallback"] == "error") == taken


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_who_takes_a_bridge_up_decides_how_long_it_waits(api: Api, held: bool, before: bool) -> None:
    """One that is detached now stays without its client, also when a command held it before; other annotations are kept."""
    old = asked(held=before)
    old["metadata"]["annotations"] = {**old["metadata"].get("annotations", {}), "a.example/b": "c"}
    api.keep(old)
    bridging._write(api.kube, asked(held=held))

    assert api.objects[AT]["metadata"]["annotations"] == {"a.example/b": "c", **({"bascule.dev/away-grace": "60"} if held else {})}


def test_a_refusal_of_before_is_not_this_bridges(api: Api) -> None:
    """What was refused once is judged anew, also when the same is asked for again; its port is kept."""
    condition = {"type": "Accepted", "status": "False", "reason": "RuleIdentical", "message": "bob has it"}
    refused: Obj = {**asked(), "state": "ERROR", "status": {"conditions": [condition]}, "clusterEndpoint": {"8080": "a:1"}}
    api.keep(refused)
    assert bridging._refusal(api.objects[AT])
    bridging._write(api.kube, asked())

    assert not bridging._refusal(api.objects[AT])
    assert api.objects[AT]["clusterEndpoint"] == {"8080": "a:1"}

"""The carrier runs where an application ran that was given little."""

from __future__ import annotations

import hashlib

from carrier2.contract import MAX_LINGERING
from tests.constrained_lab import GID, LIMIT, UID
from tests.enclosure import enclosed
from tests.test_reload import HOSTS, conf


def test_sixteen_mebibytes_and_nothing_else() -> None:
    """1,000 bridges to as many addresses, load, large bodies, reloads that leave as many old workers as may be: nothing fails."""
    confs = [conf(to, 1000, port=80) for to in HOSTS[:2]]
    told = enclosed("tests.constrained_lab", {"confs": confs, "hosts": HOSTS}, 600)
    assert told["said"] == [f"applied {hashlib.sha256(confs[number % 2].encode()).hexdigest()}\n" for number in range(6)], told["log"]
    assert told["before"] == told["after"] == {"answers": 64 * 50, "down": True}
    assert told["alive"] == 24
    assert told["workers"] == MAX_LINGERING + 1
    assert told["status"] == {"Uid": str(UID), "Gid": str(GID), "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}
    assert "ro" in told["root"][0].split(",")
    assert told["inside"] == []
    assert (told["memory"]["limit"], told["memory"]["killed"]) == (LIMIT, 0)
    print(f"peak {told['memory']['peak'] / 2**20:.1f} MiB of 16, before the reloads {told['middle']['peak'] / 2**20:.1f}")  # noqa: T201

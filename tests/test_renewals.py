"""A renewed certificate reaches the carriers: what they have is delivered again now and then, and changes nothing else."""

from __future__ import annotations

from typing import Any

import pykube
import pytest

from generator.cluster.snapshot import Key, Snapshot
from generator.desired.generate import generate
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.reconcile import RENEW_SECONDS, RESYNC_SECONDS, Reconciler
from generator.plan import plan, renewals
from tests import kube

TLS = {
    part: {"secret": {"namespace": "shop", "name": "web-tls", "key": f"tls.{end}"}}
    for part, end in (("certificate", "crt"), ("key", "key"))
}
WEB = Key("Deployment", "shop", "web")


def bridged(*, tls: bool) -> Snapshot:
    """Deployment web with two Pods, mounted and bridged by Alice, at rest; its port speaks TLS or does not."""
    port = {"name": "web", "port": 443, "targetPort": 8080, "protocol": "TCP", "appProtocol": "https"}
    https: dict[str, Any] = {"ports": [port]} if tls else {}
    brought: dict[str, Any] = {"providerParameter": {"tls": TLS}} if tls else {}
    objects = [
        *kube.deployment("web", {"app": "web"}, [kube.container()], 2, 1),
        kube.service("web", {"app": "web"}, **https),
        kube.mount("web", "deployment/web", **brought),
        kube.bridge("alice", "web", []),
    ]
    state, now = kube.rounds(objects, 20)
    snapshot = Snapshot.of(state.values(), now)
    assert not plan(snapshot, generate(snapshot))
    return snapshot


def test_what_carriers_with_tls_have_is_delivered_again_and_nothing_is_patched() -> None:
    """The configuration of now and where its keys come from, to each Pod; a Pod that has come in its place is not met, none is changed."""
    desired = generate(bridged(tls=True))
    changes = renewals(desired)
    outcome = desired.outcomes[WEB]
    assert [c.key.name for c in changes] == [o.name for o in outcome.originals] != []
    for change in changes:
        assert [(d.container, d.text) for d in change.deliver] == [("app", outcome.texts["app"])]
        assert [(port, tls.key) for port, tls in change.deliver[0].tls] == [(8080, "secret:shop/web-tls:tls.key")]
        assert [op["op"] for op in change.patch] == ["test"]


def test_what_speaks_no_tls_is_left_alone() -> None:
    """There is nothing to renew."""
    assert renewals(generate(bridged(tls=False))) == ()


def test_a_renewal_that_fails_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an hour later: nobody answers here, and the next try comes with the next look at everything. Nor does another write that fails
    each time stand before it: a renewal does not wait for a plan.
    """
    desired, at = generate(bridged(tls=True)), [1000.0]
    nobody = Kube(pykube.KubeConfig(kube.NOBODY))
    reconciler = Reconciler(nobody, Mirror(nobody, lambda *_: None))
    monkeypatch.setattr("generator.live.reconcile.time.monotonic", lambda: at[0])
    reconciler._renewals(WEB, desired)
    for _ in range(3):
        at[0] += RESYNC_SECONDS
        changes = reconciler._renewals(WEB, desired)
        assert changes
        reconciler._write(WEB, changes)
        assert not reconciler._renewals(WEB, desired)
    reconciler.close()


def test_the_operator_renews_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """First a while after it leads, whoever led before; then each RENEW_SECONDS, and not in between."""
    desired, at = generate(bridged(tls=True)), [1000.0]
    nobody = Kube(pykube.KubeConfig(kube.NOBODY))
    reconciler = Reconciler(nobody, Mirror(nobody, lambda *_: None))
    monkeypatch.setattr("generator.live.reconcile.time.monotonic", lambda: at[0])
    found = []
    for _ in range(int(3 * RENEW_SECONDS / RESYNC_SECONDS)):
        at[0] += RESYNC_SECONDS
        if reconciler._renewals(WEB, desired):
            found.append(at[0])
    reconciler.close()
    first = 1000 + 2 * RESYNC_SECONDS
    assert found == [first, first + RENEW_SECONDS, first + 2 * RENEW_SECONDS]

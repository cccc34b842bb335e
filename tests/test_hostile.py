"""Users against each other, against us and against the server, on a whole cluster: nobody loses what is his, and everybody is told why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

from generator import names
from generator.cluster.snapshot import Key, Obj, key_of, labels_of
from generator.live.failures import KubeError
from generator.live.kube import Kube, path
from tests.live.lab import PATIENCE, Lab, Namespace, header, until, workload
from tests.overlay_lab import account, call

ROUNDS = 12
MANY = 200
ALICE = "system:serviceaccount:gefyra:gefyra-client-alice"
ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: gefyra-client-alice, namespace: gefyra}
rules:
- apiGroups: [gefyra.dev]
  resources: [gefyrabridges, gefyrabridgemounts, gefyraclients]
  verbs: [get, list, create, update, patch, delete, deletecollection]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: gefyra-client-alice, namespace: gefyra}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: gefyra-client-alice}
subjects: [{kind: ServiceAccount, name: gefyra-client-alice, namespace: gefyra}]
"""


def bridge_key(name: str) -> Key:
    """Where a bridge is."""
    return Key("GefyraBridge", "gefyra", name)


def refusal(do: Callable[[], object]) -> str:
    """What the server says when it does not do it; "" when it does."""
    try:
        do()
    except KubeError as error:
        return str(error)
    return ""


# --- users against each other ----------------------------------------------------------------------------------------


def test_of_two_who_race_for_a_rule_one_wins_and_the_other_is_told(lab: Lab) -> None:
    """Both create at the same moment. The loser is refused by the webhook or stands in ERROR; either way he reads who has the rule."""
    with lab.namespace("race", workload("race", replicas=1)) as race:
        at_once = Barrier(2)

        def create(name: str, value: str) -> str:
            user = name.partition("-")[0]
            wanted = race.wanted(name, "deployment/web", [header("x-race", value)], user=user)
            at_once.wait()
            return refusal(lambda: lab.kube.create(wanted))

        lost: dict[str, str] = {}
        with ThreadPoolExecutor(2) as pool:
            for number in range(ROUNDS):
                pair = (f"alice-{number}", f"bob-{number}")
                told = dict(zip(pair, pool.map(create, pair, [str(number)] * 2), strict=True))
                lost |= {name: said for name, said in told.items() if said}
        there = [f"{user}-{number}" for number in range(ROUNDS) for user in ("alice", "bob") if f"{user}-{number}" not in lost]
        until(lambda: all(race.state(name) in ("ACTIVE", "ERROR") for name in there), "an end of each race", lambda: states(race, there))

        late = {name for name in there if race.state(name) == "ERROR"}
        for number in range(ROUNDS):
            (winner,) = (name for name in there if name not in late and name.endswith(f"-{number}"))
            (loser,) = {f"alice-{number}", f"bob-{number}"} - {winner}
            said = race.told(loser) if loser in late else lost[loser]
            assert "RuleIdentical" in said
            assert winner in said
        last = next(name for name in there if name not in late and name.endswith(f"-{ROUNDS - 1}"))
        assert race.ask("web", "-H", f"x-race: {ROUNDS - 1}") == last.partition("-")[0]


def states(space: Namespace, bridges: list[str]) -> str:
    """For a failure: what each bridge says."""
    return "\n".join(f"{name} {space.state(name)}: {space.told(name)}" for name in bridges if space.state(name) != "ACTIVE")


@contextmanager
def alice_has_an_account(lab: Lab) -> Iterator[Kube]:
    """As Gefyra makes it: a ServiceAccount that may write the three kinds."""
    lab.cluster.apply(ROLE)
    try:
        yield account(lab.cluster.kubeconfig, ALICE)
    finally:
        for kind in ("role", "rolebinding"):
            lab.cluster.kubectl("delete", kind, "-n", "gefyra", "gefyra-client-alice")


def test_a_client_cannot_touch_what_belongs_to_another(lab: Lab) -> None:
    """Whatever alice's account tries with bob's bridge is refused by the fence, and what she writes of her own goes through."""
    with lab.namespace("mine", workload("mine", replicas=1)) as mine, alice_has_an_account(lab) as alice:
        mine.bridge("bob", "deployment/web", header("x-user", "bob"))
        bob = lab.kube.get(bridge_key("bob"))
        own = mine.wanted("alice", "deployment/web", [header("x-user", "alice")])
        until(lambda: "forbidden: User" not in refusal(lambda: alice.get(bridge_key("bob"))), "her rights")
        tries: dict[str, Callable[[], object]] = {
            "change": lambda: alice.merge(bridge_key("bob"), {"providerParameter": own["providerParameter"]}),
            "lead elsewhere": lambda: alice.merge(bridge_key("bob"), {"clusterEndpoint": own["clusterEndpoint"]}),
            "take over": lambda: alice.replace({**bob, "client": "alice"}),
            "label": lambda: alice.merge(bridge_key("bob"), {"metadata": {"labels": {"gefyra.dev/client": "alice"}}}),
            "delete": lambda: alice.delete(bridge_key("bob")),
            "in his name": lambda: alice.create(mine.wanted("x", "deployment/web", [header("x-user", "x")], user="bob")),
            "in nobody's name": lambda: alice.create({k: v for k, v in own.items() if k != "client"}),
            "another client": lambda: alice.create(client("bob")),
        }

        for what, attempt in tries.items():
            said = refusal(attempt)
            assert "ValidatingAdmissionPolicy 'bascule-fence-clients'" in said, what
            assert "alice may only write and delete what is its own" in said, what
        assert "leave it out" in refusal(lambda: alice.create(own))
        alice.create({k: v for k, v in own.items() if k != "clusterEndpoint"})
        elsewhere = refusal(lambda: alice.merge(bridge_key("alice"), {"clusterEndpoint": bob["clusterEndpoint"]}))
        assert "which says where in the cluster requests go" in elsewhere
        refusal(lambda: call(alice, "DELETE", path("GefyraBridge", "gefyra")))
        assert lab.kube.get(bridge_key("bob"))["metadata"]["uid"] == bob["metadata"]["uid"]
        until(lambda: gone(lab, "alice"), "alice's own to go")
        assert mine.ask("web", "-H", "x-user: bob") == "bob"


def gone(lab: Lab, name: str) -> bool:
    """Whether a bridge is not there."""
    return not any(key_of(o).name == name for o in lab.kube.list_objects("GefyraBridge", "gefyra")[0])


def client(name: str) -> Obj:
    """A client as Gefyra's command line writes it."""
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyraclient",
        "metadata": {"name": name, "namespace": "gefyra"},
        "provider": "stowaway",
    }


def test_without_the_fence_the_webhook_still_refuses(lab: Lab) -> None:
    """Two independent fences: where admission policies are off, a write to another's bridge ends at the webhook."""
    binding = json.loads(lab.cluster.kubectl("get", "validatingadmissionpolicybinding", "bascule-fence-clients", "-o", "json"))
    with lab.namespace("twice", workload("twice", replicas=1)) as twice, alice_has_an_account(lab) as alice:
        lab.kube.create(twice.wanted("bob", "deployment/web", [header("x-user", "bob")]))
        other = {"providerParameter": {"rules": [{"match": [header("x-user", "alice")]}]}}
        lab.cluster.kubectl("delete", "validatingadmissionpolicybinding", "bascule-fence-clients")
        try:
            said = "GefyraBridge gefyra/bob belongs to bob; client alice may only write and delete what is its own."
            until(lambda: said in refusal(lambda: alice.merge(bridge_key("bob"), other)), "the webhook's own refusal")
        finally:
            kept = {k: v for k, v in binding["metadata"].items() if k in ("name", "labels")}
            lab.cluster.apply(json.dumps({**binding, "metadata": kept}))
        until(lambda: "bascule-fence-clients" in refusal(lambda: alice.merge(bridge_key("bob"), other)), "the fence")


# --- users against us ------------------------------------------------------------------------------------------------


def test_two_hundred_bridges_at_once(lab: Lab) -> None:
    """All of them become ACTIVE and route, each to its own user; all are removed at once, and the namespace is as before."""
    with lab.namespace("crowd", workload("crowd", replicas=2)) as crowd, ThreadPoolExecutor(20) as pool:
        before = crowd.owned()
        users = {f"b{number}": ("alice", "bob")[number % 2] for number in range(MANY)}
        wanted = [crowd.wanted(n, "deployment/web", [header("x-user", n)], user=user) for n, user in users.items()]
        list(pool.map(lambda bridge: until(lambda: written_at_last(lab, bridge), "the server to take it"), wanted))
        until(lambda: not waiting(lab, users), "all to be ACTIVE", lambda: str(waiting(lab, users)))

        sample = {n: users[n] for n in (f"b{number}" for number in range(0, MANY, MANY // 20 - 1))}
        assert {n: crowd.ask("web", "-H", f"x-user: {n}") for n in sample} == sample
        assert crowd.ask("web", "-H", "x-user: b").startswith("web-shadow-")
        list(pool.map(crowd.remove, users))
        crowd.restored()
        crowd.as_before(before)


def written_at_last(lab: Lab, bridge: Obj) -> bool:
    """Whether a bridge is there now. A webhook that was too busy to answer in time is asked again, as the server says; a verdict stands."""
    said = refusal(lambda: lab.kube.create(bridge))
    assert not said or "failed calling webhook" in said or "already exists" in said, said
    return "failed calling webhook" not in said


def waiting(lab: Lab, bridges: dict[str, str]) -> dict[str, Any]:
    """Those of the bridges that are not ACTIVE."""
    found = lab.kube.list_objects("GefyraBridge", "gefyra")[0]
    return {key_of(o).name: o.get("status") for o in found if key_of(o).name in bridges and o.get("state") != "ACTIVE"}


MOMENTS = ("asked", "a copy is there", "the copy is ready", "an original is marked", "an image is swapped", "a configuration is confirmed")


def test_a_bridge_that_goes_while_it_is_installed(lab: Lab) -> None:
    """At every stage of the way there, each with a workload of its own: it turns round, and nothing is left."""
    webs = [f"web{number}" for number in range(len(MOMENTS))]
    with lab.namespace("regret", *(workload("regret", name=name, replicas=1) for name in webs)) as regret:
        before = regret.owned()

        def regretted(number: int) -> None:
            name = webs[number]
            lab.kube.create(regret.wanted(name, f"deployment/{name}", [header("x-user", "alice")], user="alice"))
            until(lambda: stage(regret, name) >= number, f"{name}: {MOMENTS[number]}", lambda: regret.told(name))
            regret.remove(name)

        with ThreadPoolExecutor(len(webs)) as pool:
            list(pool.map(regretted, range(len(webs))))
        regret.restored()
        regret.as_before(before)
        assert [regret.ask(name)[: len(name)] for name in webs] == webs


def stage(space: Namespace, name: str) -> int:
    """How far a workload of one Pod is: a number of MOMENTS."""
    pods = [o for o in space.objects("Pod") if labels_of(o).get("app") == name or name in labels_of(o).get(names.TARGET, "")]
    copies = [o for o in pods if names.ROLE in labels_of(o)]
    marked = [o for o in pods if names.ROLE not in labels_of(o) and names.CARRIER in labels_of(o)]
    swapped = [o for o in marked if "bascule-carrier2" in o["spec"]["containers"][0]["image"]]
    confirmed = [o for o in swapped if any(a.startswith(names.CONFIRMED) for a in o["metadata"].get("annotations", {}))]
    ready = [o for o in copies if {"type": "Ready", "status": "True"}.items() <= _ready(o).items()]
    return max((number for number, found in enumerate((True, copies, ready, marked, swapped, confirmed)) if found), default=0)


def _ready(pod: Obj) -> Obj:
    return next((c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] == "Ready"), {})


def test_what_is_patched_by_hand_is_put_right(lab: Lab) -> None:
    """Our Service, ConfigMap, policies and marks come back as they were; requests go on, and the namespace can be restored."""
    with lab.namespace("hand", workload("hand", replicas=2)) as hand:
        before = hand.owned()
        hand.bridge("alice", "deployment/web", header("x-user", "alice"))
        hand.without_stand_ins()
        good = ours(hand)
        hand_changes = changes(hand)

        assert hand_changes
        for what, (key, body) in hand_changes.items():
            lab.kube.merge(key, body)
            until(lambda: ours(hand) == good, f"{what} to be put right", lambda: difference(good, ours(hand)))  # at once
            assert hand.ask("web", "-H", "x-user: alice") == "alice", what
            until(lambda: hand.ask("web").startswith("web-shadow-"), f"after {what} the shadows to answer")
        hand.remove("alice")
        hand.restored()
        hand.as_before(before)


def changes(space: Namespace) -> dict[str, tuple[Key, Obj]]:
    """Merge patches by somebody who means well, or does not."""
    shadow = key_of(next(o for o in space.objects("Pod") if labels_of(o).get(names.ROLE) == "shadow"))
    original = next(o for o in space.objects("Pod") if names.CARRIER in labels_of(o))
    service, config = (key_of(next(o for o in space.objects(kind) if names.ROLE in labels_of(o))) for kind in ("Service", "ConfigMap"))
    confirmed = next(a for a in original["metadata"]["annotations"] if a.startswith(names.CONFIRMED))
    return {
        "the Service's selector": (service, {"spec": {"selector": {"app": "nothing"}}}),
        "the ConfigMap's data": (config, {"data": {"nginx.conf": "nonsense"}}),
        "the ConfigMap without data": (config, {"data": None}),
        "the shadow's labels": (shadow, {"metadata": {"labels": {names.TARGET: "deployment-other"}}}),
        "the original's mark": (key_of(original), {"metadata": {"labels": {names.CARRIER: None}}}),
        "the original held": (key_of(original), {"metadata": {"labels": {names.HELD: "true"}}}),
        "what the carrier confirmed": (key_of(original), {"metadata": {"annotations": {confirmed: "0" * 64}}}),
    }


def ours(space: Namespace) -> dict[str, Any]:
    """What is ours in a namespace, but for what names a Pod or a container of the moment."""
    found = {}
    for kind in ("Pod", "Service", "ConfigMap"):
        for o in space.objects(kind):
            if "bascule.dev" not in json.dumps(o):
                continue
            spec = {k: o["spec"].get(k) for k in ("selector", "ports")} if kind == "Service" else {}
            marks = {part: {k: v for k, v in o["metadata"].get(part, {}).items() if "bascule" in k} for part in ("labels", "annotations")}
            found[f"{kind} {o['metadata']['name']}"] = {**marks, **spec, "data": o.get("data")}
    return found


def difference(good: dict[str, Any], found: dict[str, Any]) -> str:
    """For a failure."""
    return "\n".join(f"{k}: {good.get(k)} -> {found.get(k)}" for k in {*good, *found} if good.get(k) != found.get(k))


# --- users against the server ----------------------------------------------------------------------------------------


def test_without_the_webhook_nobody_waits_but_who_makes_a_bridge(lab: Lab) -> None:
    """With no operator there, Pods come, change and go, a bridge can be deleted, and none can be made; when it is back, it catches up."""
    with lab.namespace("away", workload("away", replicas=1)) as away:
        before = away.owned()
        away.bridge("alice", "deployment/web", header("x-user", "alice"))
        lab.cluster.kubectl("scale", "-n", "gefyra", "deployment/gefyra-operator", "--replicas=0")
        try:
            until(lambda: not operators(lab), "no operator")
            said = refusal(lambda: lab.kube.create(away.wanted("bob", "deployment/web", [header("x-user", "bob")])))
            assert 'failed calling webhook "bridge-parameters.gefyra.dev"' in said
            until(lambda: away.ask("web", "-H", "x-user: alice") == "alice", "the carriers to go on")
            lab.cluster.apply(workload("away", name="other", replicas=1))
            lab.cluster.kubectl("rollout", "status", "-n", "away", "deployment/other", f"--timeout={PATIENCE:.0f}s")
            lab.cluster.kubectl("rollout", "restart", "-n", "away", "deployment/other")
            lab.cluster.kubectl("rollout", "status", "-n", "away", "deployment/other", f"--timeout={PATIENCE:.0f}s")
            for kind in ("deployment", "service"):
                lab.cluster.kubectl("delete", "-n", "away", kind, "other")
            away.remove("alice")
            assert gone(lab, "alice")
        finally:
            lab.cluster.kubectl("scale", "-n", "gefyra", "deployment/gefyra-operator", "--replicas=2")
            lab.cluster.kubectl("rollout", "status", "-n", "gefyra", "deployment/gefyra-operator", f"--timeout={PATIENCE:.0f}s")
        away.restored()
        away.as_before(before)


def operators(lab: Lab) -> list[Obj]:
    """The operator's Pods."""
    return lab.kube.list_objects("Pod", "gefyra", "app.kubernetes.io/name=gefyra-operator")[0]


def deep(levels: int) -> str:
    """What stands for an object in an object, and so on: Python writes no JSON as deep."""
    return f"deep {levels}"


def written(obj: Obj) -> str:
    """The object as JSON."""
    return re.sub(r'"deep (\d+)"', lambda found: '{"a":' * int(found[1]) + "1" + "}" * int(found[1]), json.dumps(obj))


def regex(value: str) -> Obj:
    """A condition by regular expression."""
    return {"matchHeader": {"name": "x-user", "value": value, "type": "regex"}}


REASON = r"denied the request: ([A-Z][a-z]+)+: |is invalid: |^Internal error occurred: failed calling webhook"
"""A code of ours; what the server says of a shape that the definition does not have; nobody judged it, so it is not written."""
JSON = {"Content-Type": "application/json"}
NONSENSE: dict[str, Obj] = {
    **{f"{levels} levels": {"providerParameter": {"rules": [deep(levels)]}} for levels in (200, 900, 3000)},
    "a parameter that is a list": {"providerParameter": []},
    "a rule that is a number": {"providerParameter": {"rules": [7]}},
    "a match that is text": {"providerParameter": {"rules": [{"match": "x-user: alice"}]}},
    "a regex of a megabyte": {"providerParameter": {"rules": [{"match": [regex("a" * 1_000_000)]}]}},
    "a regex that explodes": {"providerParameter": {"rules": [{"match": [regex("(a{1000}){1000}")]}]}},
    "a regex that is none": {"providerParameter": {"rules": [{"match": [regex("(((")]}]}},
    "a line feed in a header": {"providerParameter": {"rules": [{"match": [header("x-user", "a\r\nx: y")]}]}},
    "NUL in a header": {"providerParameter": {"rules": [{"match": [header("x-user", "a\x00b")]}]}},
    "a directive in a header's name": {"providerParameter": {"rules": [{"match": [header("x; return 200", "a")]}]}},
    "a target beyond the alphabet": {"target": "deployment/wéb"},
    "a target that climbs": {"target": "deployment/../../secrets/web"},
    "a namespace beyond the alphabet": {"targetNamespace": "bücher"},
    "no port": {"portMappings": ["99999999999999999999:8080"]},
    "an endpoint that is a directive": {"clusterEndpoint": {"8080": "1.2.3.4:80; return 200"}},
}


def test_nonsense_is_refused_with_a_reason_and_upsets_nobody(lab: Lab) -> None:
    """The server, the webhook or the bridge's own status says what is wrong; no operator fails at it, and others are served."""
    with lab.namespace("odd", workload("odd", replicas=1)) as odd:
        odd.bridge("alice", "deployment/web", header("x-user", "alice"))

        def create(more: Obj) -> str:
            plain = odd.wanted(f"odd-{len(said)}", "deployment/web", [header("x-user", "odd")])
            return refusal(lambda: call(lab.kube, "POST", path("GefyraBridge", "gefyra"), data=written({**plain, **more}), headers=JSON))

        said: dict[str, str] = {}
        for what, more in NONSENSE.items():
            said[what] = create(more)
        assert {what: text for what, text in said.items() if not re.search(REASON, text)} == {}
        assert odd.ask("web", "-H", "x-user: alice") == "alice"
        logs = lab.cluster.kubectl("logs", "-n", "gefyra", "-l", "app.kubernetes.io/name=gefyra-operator", "--tail=-1")
        assert "bascule operates as" in logs
        assert "Traceback" not in logs


SPELLINGS = ("a&b", "<a>", "é", "\U0001f600")


def test_a_value_that_json_can_spell_in_two_ways_stands_in_nobodys_way(lab: Lab) -> None:
    """The server compares the text of a patch's tests as it is spelled: with such a value in a configuration, others still come and go."""
    with lab.namespace("spell", workload("spell", replicas=1)) as spell:
        before = spell.owned()
        for number, value in enumerate(SPELLINGS):
            spell.bridge(f"alice-{number}", "deployment/web", header("x-user", value), user="alice")
        spell.bridge("bob", "deployment/web", header("x-user", "bob"))
        assert [spell.ask("web", "-H", f"x-user: {value}") for value in (*SPELLINGS, "bob")] == [*["alice"] * len(SPELLINGS), "bob"]
        for name in ("bob", *(f"alice-{number}" for number in range(len(SPELLINGS)))):
            spell.remove(name)
        spell.restored()
        spell.as_before(before)

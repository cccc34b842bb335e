from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import carrier2
from carrier2.contract import MAX_TOKEN
from carrier2.dispatch import Condition, Dispatch, Listener
from generator.asked.bridge import Mount, TargetRef, Tls, decode_bridge, decode_mount
from generator.errors import Problem
from generator.rules.conditions import MAX_VALUE

Obj = dict[str, Any]


def bridge(**over: Any) -> Obj:
    """A bridge as Gefyra's command line creates it, with `over` on top; a value of None takes a field away."""
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "metadata": {
            "name": "alice-web",
            "namespace": "gefyra",
            "creationTimestamp": "2026-11-24T22:00:00Z",
            "labels": {"gefyra.dev/bridge-mount": "web", "gefyra.dev/client": "alice", "gefyra.dev/client-container": "box"},
        },
        "provider": "carrier2",
        "connectionProvider": "stowaway",
        "providerParameter": {
            "rules": [
                {
                    "match": [
                        {"matchHeader": {"name": "x-gefyra", "value": "peer", "type": "exact"}},
                        {"matchPath": {"path": "/api", "type": "prefix"}},
                    ]
                }
            ]
        },
        "client": "alice",
        "destinationIP": "172.21.0.3",
        "target": "web",
        "targetNamespace": "",
        "targetContainer": "",
        "portMappings": ["8000:80"],
        "handleProbes": True,
    } | over


def mount(**over: Any) -> Obj:
    """A mount as Gefyra's command line creates it."""
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridgemount",
        "metadata": {"name": "web", "namespace": "gefyra"},
        "targetNamespace": "default",
        "target": "deploy/nginx-deployment",
        "targetContainer": "nginx",
        "provider": "carrier2mount",
        "providerParameter": {},
    } | over


def with_match(*items: Any) -> Obj:
    """A bridge of one rule."""
    return bridge(providerParameter={"rules": [{"match": list(items)}]})


def codes(obj: Obj) -> list[tuple[str, str]]:
    """(code, field) of everything wrong with a bridge or mount."""
    decode = decode_mount if obj.get("kind", "").lower().endswith("mount") else decode_bridge
    found, problems = decode(obj)
    assert (found is None) == bool(problems)
    return [(p.code, p.place.partition(": ")[2]) for p in problems]


def test_gefyras_own_bridge_is_read_as_it_is() -> None:
    """What an unmodified `gefyra bridge create` sends."""
    obj = bridge()
    found, problems = decode_bridge(obj)
    assert problems == ()
    assert found is not None
    assert (found.name, found.client, found.owner, found.mount, found.target) == ("alice-web", "alice", "alice", "web", None)
    assert found.created == "2026-11-24T22:00:00Z"
    assert found.ports == ((80, 8000),)
    assert found.rules == ((Condition("header", "exact", "peer", "x-gefyra"), Condition("path", "prefix", "/api")),)
    assert (found.mode, found.fallback, found.endpoints, found.sunset) == ("intercept", "cluster", {}, "")
    assert found.obj is obj


def test_what_the_operator_writes_is_accepted() -> None:
    """The bridge comes back from the cluster with the fields of Gefyra's state machine."""
    obj = bridge(
        kind="GefyraBridge",
        state="ACTIVE",
        stateTransitions={"ACTIVE": "2026-11-24T22:00:00.123456Z"},
        status=None,
        clusterEndpoint={"80": "gefyra-stowaway-proxy-10000.gefyra.svc.cluster.local:10000"},
        sunset="2026-11-25T00:00:00.5+02:00",
    )
    found, problems = decode_bridge(obj)
    assert problems == ()
    assert found is not None
    assert found.endpoints == {80: "gefyra-stowaway-proxy-10000.gefyra.svc.cluster.local:10000"}
    assert found.sunset == "2026-11-24T22:00:00Z"


@pytest.mark.parametrize(
    ("client", "labels", "owner"),
    [("bob", {"gefyra.dev/client": "alice"}, "bob"), ("", {"gefyra.dev/client": "alice"}, "alice"), (None, None, "alice-web")],
)
def test_the_owner_is_the_client_or_its_label_or_the_name(client: str | None, labels: Obj | None, owner: str) -> None:
    """Somebody can always be named when two bridges collide."""
    found, _ = decode_bridge(bridge(client=client, metadata={"name": "alice-web", "labels": labels}))
    assert found is not None
    assert found.owner == owner
    assert found.created == ""


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ({"target": "deployment/web"}, TargetRef("default", "Deployment", "web")),
        ({"target": "sts/db-0.x", "targetNamespace": "shop", "targetContainer": "app"}, TargetRef("shop", "StatefulSet", "db-0.x", "app")),
        ({"target": "DaemonSet/agent"}, TargetRef("default", "DaemonSet", "agent")),
        ({"target": "rs/web-5d"}, TargetRef("default", "ReplicaSet", "web-5d")),
        ({"target": "po/web"}, TargetRef("default", "Pod", "web")),
    ],
)
def test_a_target_is_a_workload_under_each_of_kubectls_names(written: Obj, target: TargetRef) -> None:
    """A bridge may name a workload without a mount; a mount always does."""
    found, problems = decode_bridge(bridge(**written))
    assert problems == ()
    assert found is not None
    assert (found.mount, found.target) == ("", target)
    mounted, _ = decode_mount(mount(targetNamespace=None, targetContainer=None) | written)
    assert mounted is not None
    assert mounted.target == target


@pytest.mark.parametrize(
    ("parameter", "rules"),
    [
        (None, ()),
        ({}, ()),
        ({"rules": []}, ()),
        ({"rules": [{"match": []}]}, ((),)),
        (
            {
                "rules": [
                    {"match": [{"matchPath": {"path": "/b"}}]},
                    {"match": [{"matchPath": {"path": "/a"}}]},
                    {"match": [{"matchPath": {"path": "/b"}}]},
                ]
            },
            ((Condition("path", "exact", "/b"),), (Condition("path", "exact", "/a"),)),
        ),
    ],
)
def test_rules_keep_their_order_once_each_and_none_is_a_global_bridge(
    parameter: Obj | None, rules: tuple[tuple[Condition, ...], ...]
) -> None:
    """A rule's number is its place in what somebody wrote, so that a message can name it."""
    found, problems = decode_bridge(bridge(providerParameter=parameter))
    assert problems == ()
    assert found is not None
    assert found.rules == rules


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ({"matchPath": {"path": "/"}}, Condition("path", "exact", "/")),
        ({"matchPath": {"path": "/", "type": "prefix"}}, Condition("path", "prefix", "")),
        ({"matchPath": {"path": "/api/", "type": "prefix"}}, Condition("path", "prefix", "/api")),
        ({"matchPath": {"path": "/api/", "type": "exact"}}, Condition("path", "exact", "/api/")),
        ({"matchPath": {"path": "/100%/é .x", "type": None}}, Condition("path", "exact", "/100%/é .x")),
        ({"matchPath": {"path": "v[12]$", "type": "regex"}}, Condition("path", "regex", "v[12]$")),
        ({"matchHeader": {"name": "X_User", "value": "Alice B"}}, Condition("header", "exact", "Alice B", "x-user")),
        ({"matchHeader": {"name": "x-user", "value": "^al", "type": "regex"}}, Condition("header", "regex", "^al", "x-user")),
        ({"matchMethod": {"method": "M-SEARCH"}}, Condition("method", "exact", "M-SEARCH")),
        ({"matchQuery": {"name": "User[]", "value": "a=b;c%20"}}, Condition("query", "exact", "a=b;c%20", "User[]")),
        ({"matchCookie": {"name": "Sid", "value": "a&b=", "type": "prefix"}}, Condition("cookie", "prefix", "a&b=", "Sid")),
    ],
)
def test_conditions_are_brought_to_what_nginx_compares(written: Obj, condition: Condition) -> None:
    """Header names fold, prefixes lose their slash, everything else stays as it is sent."""
    found, problems = decode_bridge(with_match(written, copy.deepcopy(written)))
    assert problems == ()
    assert found is not None
    assert found.rules == ((condition,),)


HEADER = {"name": "x-user", "value": "alice"}
ITEM = "providerParameter.rules[0].match[0]"


@pytest.mark.parametrize(
    ("written", "code", "field"),
    [
        ({}, "RuleInvalid", ""),
        ({"matchPath": None}, "RuleInvalid", ""),
        ({"matchPath": {"path": "/"}, "matchHeader": HEADER}, "RuleInvalid", ""),
        ({"matchPth": {"path": "/"}}, "UnknownField", ".matchPth"),
        ("/api", "WrongType", ""),
        ({"matchPath": "/api"}, "WrongType", ".matchPath"),
        ({"matchPath": {}}, "RuleInvalid", ".matchPath"),
        ({"matchPath": {"path": ""}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "api"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a?b"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a#b"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a//b"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a/../b"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a/.", "type": "prefix"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a\n"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/\ud800"}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/" + "é" * (MAX_VALUE // 2)}}, "RuleInvalid", ".matchPath.path"),
        ({"matchPath": {"path": "/a", "type": "regexp"}}, "RuleInvalid", ".matchPath.type"),
        ({"matchPath": {"path": "(", "type": "regex"}}, "RegexUnsupported", ".matchPath.path"),
        ({"matchPath": {"path": "/a", "name": "x"}}, "UnknownField", ".matchPath.name"),
        ({"matchHeader": {"value": "alice"}}, "RuleInvalid", ".matchHeader"),
        ({"matchHeader": {"name": "x-user"}}, "RuleInvalid", ".matchHeader"),
        ({"matchHeader": HEADER | {"name": "x user"}}, "RuleInvalid", ".matchHeader.name"),
        ({"matchHeader": HEADER | {"name": "x.user"}}, "RuleInvalid", ".matchHeader.name"),
        ({"matchHeader": HEADER | {"value": ""}}, "RuleInvalid", ".matchHeader.value"),
        ({"matchHeader": HEADER | {"value": " alice"}}, "RuleInvalid", ".matchHeader.value"),
        ({"matchHeader": HEADER | {"value": "alice "}}, "RuleInvalid", ".matchHeader.value"),
        ({"matchHeader": HEADER | {"value": "a\tb"}}, "RuleInvalid", ".matchHeader.value"),
        ({"matchHeader": HEADER | {"value": 7}}, "WrongType", ".matchHeader.value"),
        ({"matchHeader": HEADER | {"value": "(a+)+", "type": "regex"}}, "RegexUnsupported", ".matchHeader.value"),
        ({"matchMethod": {"method": "get"}}, "RuleInvalid", ".matchMethod.method"),
        ({"matchMethod": {"method": "GET", "type": "exact"}}, "UnknownField", ".matchMethod.type"),
        ({"matchQuery": {"name": "a=b", "value": "x"}}, "RuleInvalid", ".matchQuery.name"),
        ({"matchQuery": {"name": "a", "value": "x y"}}, "RuleInvalid", ".matchQuery.value"),
        ({"matchQuery": {"name": "a", "value": "x&y"}}, "RuleInvalid", ".matchQuery.value"),
        ({"matchQuery": {"name": "a", "value": "é"}}, "RuleInvalid", ".matchQuery.value"),
        ({"matchCookie": {"name": "a b", "value": "x"}}, "RuleInvalid", ".matchCookie.name"),
        ({"matchCookie": {"name": "a", "value": "x;y"}}, "RuleInvalid", ".matchCookie.value"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused_at_its_field(written: Any, code: str, field: str) -> None:
    """Gefyra accepts these and then never matches, or its proxy crashes."""
    assert codes(with_match(written)) == [(code, ITEM + field)]


def test_a_refused_regex_shows_a_caret() -> None:
    """The reader sees the character at which the subset ends."""
    _, (problem,) = decode_bridge(with_match({"matchPath": {"path": r"/a\b", "type": "regex"}}))
    assert problem.message.endswith("\n    /a\\b\n      ^")


def exact(value: str) -> Obj:
    """A header condition."""
    return {"matchHeader": {"name": "x-user", "value": value}}


@pytest.mark.parametrize(
    "other",
    [
        {"matchHeader": {"name": "X_USER", "value": "bob"}},
        {"matchHeader": {"name": "x-user", "value": "al.*x", "type": "regex"}},
        {"matchHeader": {"name": "x-user", "value": "ALI", "type": "prefix"}},
    ],
)
def test_conditions_that_exclude_each_other_are_refused(other: Obj) -> None:
    """A match is an AND: two users in one match never fire, and mostly somebody meant two rules."""
    for match in ([exact("alice"), other], [other, exact("alice")]):
        assert codes(with_match(*match)) == [("RuleNeverFires", "providerParameter.rules[0].match")]


@pytest.mark.parametrize(
    "written",
    [
        {"matchHeader": {"name": "User-Agent", "value": "kube-probe/1.36"}},
        {"matchHeader": {"name": "User-Agent", "value": "^kube-probe/", "type": "regex"}},
        {"matchHeader": {"name": "x-user", "value": "^ alice", "type": "regex"}},
        {"matchHeader": {"name": "host", "value": "..", "type": "prefix"}},
        {"matchMethod": {"method": "TRACE"}},
        {"matchMethod": {"method": "CONNECT"}},
        {"matchPath": {"path": "//", "type": "regex"}},
        {"matchPath": {"path": r"^/api/\.\./", "type": "regex"}},
        {"matchPath": {"path": "^api", "type": "regex"}},
        {"matchQuery": {"name": "a", "value": "x y|&|#", "type": "regex"}},
        {"matchCookie": {"name": "a", "value": ";|^ *$", "type": "regex"}},
    ],
)
def test_a_condition_that_nginx_never_lets_through_is_refused(written: Obj) -> None:
    """What nginx answers, trims or normalises itself reaches no rule; the message says so."""
    assert codes(with_match(written)) == [("RuleNeverFires", "providerParameter.rules[0].match")]


def test_a_rule_fits_a_token_of_nginx() -> None:
    """The conditions of a rule become one key of a map, which nginx reads up to 4096 bytes after quoting."""
    half = [{"matchHeader": {"name": f"x-{n}", "value": "v" * (MAX_TOKEN // 4 - 8)}} for n in range(3)]
    assert codes(with_match(*half[:2])) == []
    assert codes(with_match(*half)) == [("RuleInvalid", "providerParameter.rules[0]")]
    wide = {"matchHeader": {"name": "x", "value": "é" * 500, "type": "regex"}}
    assert codes(with_match(wide)) == [("RuleInvalid", "providerParameter.rules[0]")]


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (bridge(apiVersion="v1"), [("WrongType", "apiVersion")]),
        (bridge(kind="GefyraClient"), [("WrongType", "kind")]),
        (bridge(spec={}), [("UnknownField", "spec")]),
        (bridge(portMapping=[]), [("UnknownField", "portMapping")]),
        (bridge(provider="carrier3"), [("WrongType", "provider")]),
        (bridge(connectionProvider="vpn"), [("WrongType", "connectionProvider")]),
        (bridge(target=None), [("WrongType", "target")]),
        (bridge(target=7), [("WrongType", "target")]),
        (bridge(target="Web"), [("WrongType", "target")]),
        (bridge(target="deploy/"), [("WrongType", "target")]),
        (bridge(target="deploy/web/app"), [("WrongType", "target")]),
        (bridge(target="cronjob/web"), [("WorkloadKindUnsupported", "target")]),
        (bridge(portMappings=None), [("PortMappingInvalid", "portMappings")]),
        (bridge(portMappings=[]), [("PortMappingInvalid", "portMappings")]),
        (bridge(portMappings="80:80"), [("WrongType", "portMappings")]),
        (bridge(portMappings=["80", "0:80", "80:65536", 80, "1:80"]), [("PortMappingInvalid", f"portMappings[{n}]") for n in range(4)]),
        (bridge(portMappings=["1:80", "2:80"]), [("PortMappingInvalid", "portMappings[1]")]),
        (bridge(clusterEndpoint={"80": "host", "x": "h:1"}), [("WrongType", "clusterEndpoint.80"), ("WrongType", "clusterEndpoint.x")]),
        (bridge(sunset="2026-11-24 22:00"), [("BadTime", "sunset")]),
        (bridge(sunset="2026-11-24T22:00:00"), [("BadTime", "sunset")]),
        (bridge(sunset="2026-02-30T22:00:00Z"), [("BadTime", "sunset")]),
        (bridge(sunset="0001-01-01T00:00:00+09:00"), [("BadTime", "sunset")]),
        (bridge(metadata={"name": "b", "creationTimestamp": "yesterday"}), [("BadTime", "metadata.creationTimestamp")]),
        (bridge(metadata={"name": "b", "labels": {"gefyra.dev/client": 7}}), [("WrongType", "metadata.labels.gefyra.dev/client")]),
        (bridge(metadata={}), [("NotAnObject", "")]),
        (bridge(providerParameter={"mode": "copy"}), [("WrongType", "providerParameter.mode")]),
        (bridge(providerParameter={"fallback": True}), [("WrongType", "providerParameter.fallback")]),
        (bridge(providerParameter={"rules": {}}), [("WrongType", "providerParameter.rules")]),
        (bridge(providerParameter={"rules": [{}]}), [("RuleInvalid", "providerParameter.rules[0]")]),
        (bridge(providerParameter={"rules": [[]]}), [("WrongType", "providerParameter.rules[0]")]),
        (mount(target="web"), [("WrongType", "target")]),
        (mount(missingGracePeriod=-1), [("WrongType", "missingGracePeriod")]),
        (mount(missingGracePeriod=True), [("WrongType", "missingGracePeriod")]),
        (mount(portMappings=["80:80"]), [("UnknownField", "portMappings")]),
        (mount(providerParameter={"allowSharedVolumes": "yes"}), [("WrongType", "providerParameter.allowSharedVolumes")]),
        (mount(providerParameter={"carrierImage": "a b"}), [("WrongType", "providerParameter.carrierImage")]),
        (mount(providerParameter={"tls": {"certificate": "/c"}}), [("WrongType", "providerParameter.tls")]),
        (mount(providerParameter={"tls": {"certificate": "c", "key": "/k"}}), [("WrongType", "providerParameter.tls.certificate")]),
        (mount(providerParameter={"70000": {"tls": {}}}), [("UnknownField", "providerParameter.70000")]),
        (
            mount(providerParameter={"tls": {"certificate": "/c", "key": {"secret": {"name": "web"}}}}),
            [("WrongType", "providerParameter.tls.key")],
        ),
        (
            mount(
                providerParameter={
                    "443": {},
                    443: {"tls": {"certificate": "/c", "key": "/k"}},
                }
            ),
            [("DuplicateKey", "providerParameter.443")],
        ),
    ],
)
def test_each_wrong_field_has_its_code_and_place(obj: Obj, expected: list[tuple[str, str]]) -> None:
    """One mistake, one finding, at the field that has to be changed."""
    assert codes(obj) == expected


def test_everything_wrong_is_reported_at_once() -> None:
    """Nobody has to mend an object one mistake at a time."""
    obj = with_match({"matchPath": {"path": "api"}}, {"matchHeader": {"name": "x", "value": "[", "type": "regex"}}) | {
        "portMappings": ["80"],
        "sunset": "soon",
        "clint": "alice",
    }
    _, problems = decode_bridge(obj)
    assert [p.code for p in problems] == ["BadTime", "PortMappingInvalid", "RegexUnsupported", "RuleInvalid", "UnknownField"]
    assert {p.place.partition(": ")[0] for p in problems} == {"GefyraBridge gefyra/alice-web"}
    assert problems[-1].cure == "Did you mean client?"


def test_tls_is_read_per_port_and_for_all() -> None:
    """As Gefyra's command line writes it: port keys are numbers there and text once they went through the API."""
    secret = {"secret": {"namespace": "shop", "name": "web-tls", "key": "tls.key"}}
    parameter = {
        "tls": {"certificate": "/tls/tls.crt", "key": "/tls/tls.key", "sni": "web.example"},
        "443": {"tls": {"certificate": "secret:shop/web-tls:tls.crt", "key": secret}},
        8443: {"tls": {"certificate": "/a", "key": "/b"}},
        "allowSharedVolumes": True,
        "carrierImage": "registry.example/carrier2:1",
    }
    found, problems = decode_mount(mount(targetNamespace="shop", providerParameter=parameter, missingGracePeriod=0))
    assert problems == ()
    assert found is not None
    assert found.tls == {
        0: Tls("/tls/tls.crt", "/tls/tls.key", "web.example"),
        443: Tls("secret:shop/web-tls:tls.crt", "secret:shop/web-tls:tls.key"),
        8443: Tls("/a", "/b"),
    }
    assert (found.allow_shared_volumes, found.carrier_image, found.missing_grace_period) == (True, "registry.example/carrier2:1", 0)


@pytest.mark.parametrize("port", ["", "443"])
@pytest.mark.parametrize("part", ["certificate", "key"])
@pytest.mark.parametrize("namespace", ["gefyra", "kube-system", "shop2", "sho"])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_secret_of_another_namespace_is_refused(port: str, part: str, namespace: str, *, as_text: bool) -> None:
    """Whoever may write a mount gets no Secret that only the operator may read: a target's carriers get its own namespace's alone."""

    def decoded(of: str) -> tuple[Mount | None, tuple[Problem, ...]]:
        source = f"secret:{of}/web-tls:x" if as_text else {"secret": {"namespace": of, "name": "web-tls", "key": "x"}}
        tls = {"tls": {"certificate": "/tls.crt", "key": "/tls.key", part: source}}
        return decode_mount(mount(targetNamespace="shop", providerParameter={port: tls} if port else tls))

    found, problems = decoded(namespace)
    assert (found, [p.code for p in problems]) == (None, ["SecretElsewhere"])
    assert problems[0].place == f"GefyraBridgeMount gefyra/web: providerParameter.{port + '.' if port else ''}tls.{part}"
    assert decoded("shop")[1] == ()


SOURCES = st.builds(
    lambda start, text, times, end: f"{start}{text * times}{end}",
    st.sampled_from(["/", "", "secret:shop/web:", "secret:shop/"]),
    st.sampled_from(["a", "$", '"', "\\", "a.", "\u00e9", "\ud800", "x-", " ", "\n", "a/"]),
    st.one_of(st.integers(0, 5), st.sampled_from([n + d for n in (63, 253, 333, 2000, 3999, 4095, 65536) for d in (-1, 0, 1)])),
    st.sampled_from(["", "a", ":k"]),
)


@given(part=st.sampled_from(["certificate", "key", "sni"]), text=SOURCES)
def test_what_a_mount_may_say_of_tls_a_carrier_can_be_told(part: str, text: str) -> None:
    """However long and odd: what is decoded can be written for nginx, so that no mount keeps others' configurations from being made."""
    written = {"certificate": "/c", "key": "/k", part: text}
    found, problems = decode_mount(mount(targetNamespace="shop", providerParameter={"tls": written}))
    assert {p.place for p in problems} <= {f"GefyraBridgeMount gefyra/web: providerParameter.tls.{part}"}
    if found:
        tls = found.tls[0]
        listener = Listener(443, http=True, tls=True, sni=tls.sni, certificate=tls.certificate, key=tls.key)
        assert "ssl_certificate_key" in carrier2.render(Dispatch((listener,), "10.0.0.1"))


@pytest.mark.parametrize(
    ("part", "longest"),
    [
        ("certificate", "/" + "a" * 3997),
        ("key", "/" + "a" * 3997),
        ("sni", "a" * 253),
        ("key", "secret:shop/" + "a" * 253 + ":" + "k" * 253),
    ],
)
def test_sources_of_tls_have_a_length(part: str, longest: str) -> None:
    """A path as long as nginx can be told of, a name as DNS has them, and a Secret as Kubernetes has them; one more is refused."""
    for text, codes in ((longest, []), (f"{longest}aaa", ["WrongType"])):
        tls = {"certificate": "/c", "key": "/k", part: text}
        assert [p.code for p in decode_mount(mount(targetNamespace="shop", providerParameter={"tls": tls}))[1]] == codes


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.sampled_from(["/a", "deploy/web", "80:80", "regex"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["rules", "match", "matchPath", "path", "type", "tls", "443", "secret", "name"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(
    st.sampled_from([bridge, mount]),
    st.dictionaries(st.sampled_from(sorted({*bridge(), *mount(), "sunset", "clusterEndpoint", "x"})), JUNK, max_size=3),
)
@settings(max_examples=200)
def test_no_object_raises_or_is_changed(shape: Any, over: Obj) -> None:
    """Whatever stands in the fields: a decoded object or findings, and the input as it was."""
    obj = shape(**over)
    before = copy.deepcopy(obj)
    for decode in (decode_bridge, decode_mount):
        found, problems = decode(obj)
        assert (found is None) == bool(problems)
    assert obj == before


@pytest.mark.parametrize("obj", [None, [], "x", {}, {"metadata": None}, {"metadata": {"name": 7}}])
def test_what_is_no_object_is_one_finding(obj: Any) -> None:
    """Nothing else is said about it."""
    for decode in (decode_bridge, decode_mount):
        found, (problem,) = decode(obj)
        assert found is None
        assert problem.code == "NotAnObject"

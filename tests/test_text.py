"""generator/text/reading.py and the modules under it: YAML and JSON in and out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from generator.errors import Problem
from generator.text import reading as text
from generator.text import yamlreader
from generator.text.printable import printable
from generator.text.scalars import Ambiguous, meaning, quoted

NASTY = [
    *(
        "yes no on off y n Yes NO ~ null true 0644 0o644 0x1F 12:30 1:20:30.5 1_000 1_0.5 0b101 1e3 1.0 .5 5. -1 +1 -0 .inf .NaN - -- --- "
        "... -x -5 -a:b = << <<x ? ?x : x: :x #x x#y & *a @x `x %x !x ,x [x] {x} | > 'x' \"x\" \\ $(A) a,b a&b 2026-11-24 "
        "2026-11-24T22:21:43Z 10.0.0.1 775bc6d868 12e034 100m 64Mi localhost/echo:1 _ 0 00 08 -0x1F 0_7 .5_0 é 日本 \U0001f600"
    ).split(),
    *(
        "",
        " ",
        " x",
        "x ",
        "a b",
        "a: b",
        "a #b",
        "a\tb",
        "\t",
        "a\nb",
        "a\nb\n",
        "a\n\n\nb\n",
        "a\n\n",
        "\na",
        " a\nb",
        "a \nb",
        "a\n b\n",
    ),
    *("#a\nb", "---\na\n", "a\n---\nb", "a\r\nb\r\n", "a\rb", "\x00", "\x7f", "\x85", "a\u2028b", "\ufeff", "\ufeffa\nb", "a\ufffe"),
    *("\xa0\nb", "a\n\xa0", "x" * 3000, "- a\n- b\n", "%YAML 1.2\na", "key: |\n  a\n", "\n", "\n\n", "a\u2029\nb", "... x", "--- x"),
]
STRINGS = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.text(" \n:-#'\"ab01_.{}[]", max_size=12))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), STRINGS)
VALUES = st.recursive(SCALARS, lambda v: st.one_of(st.lists(v, max_size=4), st.dictionaries(STRINGS, v, max_size=4)), max_leaves=20)


def kubernetes_object(spec: Any, name: str = "web") -> dict[str, Any]:
    """A whole object around any value."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


FAST_FROM = {"fast": 0, "exact": 10**9}


@pytest.fixture(params=FAST_FROM)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers: PyYAML's in C and ruamel.yaml's."""
    monkeypatch.setattr(yamlreader, "FAST_FROM", FAST_FROM[request.param])


def read_by(parser: str, source: str | bytes) -> tuple[list[dict[str, Any]], tuple[Problem, ...]]:
    """What one of the two parsers finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yamlreader, "FAST_FROM", FAST_FROM[parser])
        return text.read(source, "x.yaml")


def codes(source: str | bytes) -> list[str]:
    """The codes of the problems in a stream."""
    return [p.code for p in text.read(source, "x.yaml")[1]]


def same(a: Any, b: Any) -> bool:
    """Equal with types: 1, 1.0 and True are three things."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=3), st.dictionaries(STRINGS, SCALARS, max_size=2))
@example([dict.fromkeys(NASTY, 1), list(NASTY), [[[]], {}, [{}], [[1, [2]]]]], dict.fromkeys(NASTY, "a\nb"))
def test_what_is_written_reads_back_the_same(specs: list[Any], fields: dict[str, Any]) -> None:
    """No value changes on its way through YAML or JSON, in our reader with either parser and in PyYAML, a YAML 1.1 reader."""
    objects = [fields | kubernetes_object(spec) for spec in specs]
    written = text.write_yaml(objects)
    for parser in FAST_FROM:
        found, problems = read_by(parser, written)
        assert problems == ()
        assert same(found, objects)
    assert same(list(yaml.load_all(written, yaml.SafeLoader)), objects)
    found, problems = text.read(text.write_json(objects), "x.json")
    assert problems == ()
    assert same(found, objects)


@settings(max_examples=100, deadline=None)
@given(VALUES, st.randoms(use_true_random=False))
def test_order_of_keys_in_the_input_changes_no_byte(spec: Any, random: Any) -> None:
    """Two equal objects are written with equal bytes."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)
            return {k: shuffled(v) for k, v in items}
        return [shuffled(v) for v in value] if isinstance(value, list) else value

    value = kubernetes_object(spec)
    assert text.write_yaml([shuffled(value)]) == text.write_yaml([value])
    assert text.write_json(shuffled(value)) == text.write_json(value)


def test_layout() -> None:
    """Documents look as kubectl prints them, with apiVersion, kind and metadata first."""
    shared = {"app": "web"}
    value = {
        "spec": {"containers": [{"args": ["-name", "yes"], "name": "app", "ports": []}], "b": {}, "script": "a\n\n b\n"},
        "metadata": {"labels": shared, "uid": "1", "annotations": shared, "name": "web", "creationTimestamp": "2026-11-24T22:21:43Z"},
        "kind": "Pod",
        "apiVersion": "v1",
    }
    assert (
        text.write_yaml([value, {"kind": "X"}])
        == """\
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app: web
  annotations:
    app: web
  creationTimestamp: "2026-11-24T22:21:43Z"
  uid: "1"
spec:
  b: {}
  containers:
  - args:
    - -name
    - "yes"
    name: app
    ports: []
  script: |
    a

     b
---
kind: X
"""
    )
    assert 'one: "a \\nb"\n' in text.write_yaml([{"one": "a \nb"}])
    assert text.write_yaml([]) == ""
    assert text.write_json({"b": "é", "a": [1]}) == '{\n  "a": [\n    1\n  ],\n  "b": "é"\n}\n'


@pytest.mark.parametrize(
    "plain", ["100m", "64Mi", "-name", "$(POD)", "/bin/sh", "10.0.0.1", "775bc6d868", "localhost/echo:1", "a b", "web.v1", "a=b,c"]
)
def test_usual_text_needs_no_quotes(plain: str) -> None:
    """Text that no reader mistakes is written as kubectl writes it."""
    assert quoted(plain) == plain


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-12", -12),
        ("+5", 5),
        ("0o644", 420),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2026-11-24T22:21:43Z", "2026-11-24T22:21:43Z"),
        ("10.0.0.1", "10.0.0.1"),
        ("nope", "nope"),
    ],
)
def test_meaning_of_plain_scalars(plain: str, value: Any) -> None:
    """YAML 1.2's core schema, and times stay text."""
    assert same(meaning(plain), value)


@pytest.mark.parametrize("plain", "yes No ON off y N 0644 -007 08 12:30 1:20:30 1_000 1_0.5 0b11 -0x1F .inf -.Inf .NaN 1e999".split())
def test_ambiguous_scalars_are_named_with_their_place(plain: str, parser: None) -> None:
    """A scalar that readers disagree on is a problem at its line and column, which says what to write."""
    assert isinstance(meaning(plain), Ambiguous)
    (problem,) = text.read(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n- a: {plain}\n", "x.yaml")[1]
    assert (problem.code, problem.place) == ("AmbiguousScalar", "x.yaml, document 1, line 5, column 6")
    assert plain in problem.message
    assert "Write" in problem.cure
    assert codes(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: [\"{plain}\", '{plain}', !!str {plain}]\n") == []


def test_octal_modes_say_both_numbers() -> None:
    """defaultMode: 0644 is the usual slip; the cure has the number that was meant."""
    assert meaning("0644") == Ambiguous("0644 is octal to some readers and decimal to others", '"0644", 420 (octal) or 644')


@pytest.mark.parametrize(
    ("source", "code", "place"),
    [
        ("a: b: c\n", "YamlSyntax", "line 1, column 5"),
        ("a:\n\tb: c\n", "YamlSyntax", "line 2, column 1"),
        ("a: 1\nb: @x\n", "YamlSyntax", "line 2, column 4"),
        ("---\na: 1\n---\nb: *x\n", "YamlSyntax", "document 2, line 4, column 4"),
        ("b: *x\n", "YamlSyntax", "line 1, column 4"),
        ("a: &x [*x]\n", "YamlSyntax", "line 1, column 8"),
        ("a: !!binary abc\n", "YamlSyntax", "line 1, column 4"),
        ("a: \x01\n", "YamlSyntax", "line 1, column 4"),
        ("? [a]\n: b\n", "YamlSyntax", "line 1, column 3"),
        ("a: {<<: b}\n", "YamlSyntax", "line 1, column 5"),
        ("a: 1\nb: 2\na: 3\n", "DuplicateKey", "line 3, column 1"),
        ("a:\n  8080: x\n", "AmbiguousScalar", "line 2, column 3"),
        ("on: x\n", "AmbiguousScalar", "line 1, column 1"),
        ('{"a": 1,\n "a": 2}', "DuplicateKey", "line 2, column 2"),
        ('{"a": [{"b": "a:"}, {"b": 1, "c": {"b": 2}, "\\u0062": 3}]}', "DuplicateKey", "line 1, column 45"),
        ('{"a": "b",\n "b": 1,\n "a": 2}', "DuplicateKey", "line 3, column 2"),
        ('{"a": 1,\n 2}', "YamlSyntax", "line 2, column 2"),
        ('{"a": NaN}', "YamlSyntax", "line 1, column 1"),
        ('{"a": 1e999}', "YamlSyntax", "line 1, column 1"),
        ('{"a": "\\ud800"}', "YamlSyntax", "line 1"),
        ('{"a": ' + "9" * 5000 + "}", "YamlSyntax", "line 1, column 1"),
        ("a: " + "9" * 5000, "AmbiguousScalar", "line 1, column 4"),
    ],
)
def test_problems_and_their_places(source: str, code: str, place: str, parser: None) -> None:
    """Each fault is named with the place where it stands, the same with both parsers."""
    first = text.read(source, "x.yaml")[1][0]
    assert first.code == code
    assert first.place.startswith("x.yaml, ")
    assert first.place.endswith(place)
    assert first.cure


def test_colons_in_flow_text(parser: None) -> None:
    """Images and addresses with a colon need no quotes between brackets (libyaml before 0.2 refused them)."""
    source = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: [{image: nginx:1.27}, http://x:80, -listen=:80]}"
    (value,), problems = text.read(source, "x.yaml")
    assert problems == ()
    assert value["spec"] == [{"image": "nginx:1.27"}, "http://x:80", "-listen=:80"]


def test_the_offending_line_is_shown(parser: None) -> None:
    """The message of a syntax error holds the line it is about, cut when that is long."""
    problem = text.read("a: b\n" + "x" * 100 + ": y: z" + "w" * 100, "x.yaml")[1][0]
    assert "x: y: zw" in problem.message
    assert len(problem.message) < 200


@pytest.mark.parametrize("source", ["a: 'x", 'a: "x\n\n', "a: [1, 2", "a: {b: c\n\n"])
def test_what_is_not_closed_is_named_where_it_begins(source: str, parser: None) -> None:
    """At the end of the text nothing is to be seen: the place is where the quote or bracket was opened."""
    problem = text.read(source, "x.yaml")[1][0]
    assert problem.place == "x.yaml, document 1, line 1, column 4"
    assert problem.cure.startswith("Close")


def test_lists_and_streams_are_flattened(parser: None) -> None:
    """List, typed lists of `kubectl get --raw`, arrays and several documents give the same objects."""
    one, two = kubernetes_object({"a": 1}, "one"), kubernetes_object({"a": 2}, "two")
    bare = [{k: v for k, v in o.items() if k in {"metadata", "spec"}} for o in (one, two)]
    for source in (
        text.write_yaml([one, two]),
        text.write_yaml([{"apiVersion": "v1", "kind": "List", "items": [one, two]}]),
        text.write_yaml([{"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": bare}]),
        text.write_yaml([{"kind": "List", "items": [{"kind": "List", "items": [one]}, two]}]),
        text.write_json([one, two]),
        text.write_json({"kind": "List", "items": [one, two]}),
        json.dumps(one) + "\n" + json.dumps(two),
        json.dumps(one) + json.dumps(two),
        json.dumps(one) + "\n---\n" + json.dumps(two) + "\n",
        "\ufeff---\n---\n# nothing\n" + text.write_yaml([one]) + "---\n" + text.write_yaml([two]),
    ):
        assert text.read(source, "x") == ([one, two], ()), source
        assert text.read(source.encode(), "x") == ([one, two], ()), source
    allow = {"apiVersion": "x/v1", "kind": "AllowList", "metadata": {"name": "a"}, "items": [1]}
    assert text.read(text.write_yaml([allow]), "x") == ([allow], ())
    for nothing in ("", " \n", "---\n", "# a\n", "kind: List\nitems: []\n", "kind: PodList\nitems: null\n", "[]"):
        assert text.read(nothing, "x") == ([], ())


def test_what_is_not_an_object(parser: None) -> None:
    """A document or item that is no Kubernetes object is named with its place and what is missing; the others are read."""
    source = "kind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: web}\n- kind: 5\n  metadata: {}\n- hello\n---\nhello\n"
    objects, problems = text.read(source, "x.yaml")
    assert [o["metadata"]["name"] for o in objects] == ["web"]
    assert [(p.code, p.place, p.message) for p in problems] == [
        ("NotAnObject", "x.yaml, document 1, item 2, line 6", "apiVersion, metadata.name missing; kind is 5, not text"),
        ("NotAnObject", "x.yaml, document 1, item 3", '"hello" is not an object'),
        ("NotAnObject", "x.yaml, document 2, line 10", '"hello" is not an object'),
    ]


def test_anchors_and_merge_keys(parser: None) -> None:
    """Aliases repeat their value; << gives the mapping's own keys precedence, then earlier mappings."""
    source = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
    source += "a: &a {x: 1, w: 1}\nb: &b {w: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {<<: *b}\ne: [*a, *a]\n"
    (value,), problems = text.read(source, "x")
    assert problems == ()
    assert (value["c"], value["d"], value["e"]) == ({"x": 3, "w": 1, "z": 2}, {"w": 2, "z": 2}, [{"x": 1, "w": 1}] * 2)
    assert "&" not in text.write_yaml([value])


def test_aliases_cannot_grow_without_bound(parser: None) -> None:
    """A few lines of aliases of aliases are refused before anything walks what they stand for."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))
    (problem,) = text.read(laughs, "x")[1]
    assert (problem.code, "aliases" in problem.message) == ("YamlSyntax", True)


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"\xff\xfe\x00" * 3_000_000, "NotText"),
        ("\ud800", "NotText"),
        ("hello world\n" * 800_000, "NotAnObject"),
        ("[" * 100_000, "YamlSyntax"),
        ("[[" + "{" * 100_000, "YamlSyntax"),
        ('{"a":' * 100_000, "YamlSyntax"),
        ('{"a":' * 500 + "1" + "}" * 500, "YamlSyntax"),
        ("- " * 1_000_000, "YamlSyntax"),
        ("{a: " * 100_000, "YamlSyntax"),
        ('"' + "a b\n" * 200_000, "YamlSyntax"),
        ("\x00" * 10_000_000, "YamlSyntax"),
        ('{"a": "' + "x" * 10_000_000, "YamlSyntax"),
    ],
)
def test_large_garbage_is_one_problem(garbage: str | bytes, code: str) -> None:
    """Millions of bytes of nonsense give one short problem, and nothing is raised."""
    objects, problems = text.read(garbage, "x")
    assert (objects, [p.code for p in problems]) == ([], [code])
    assert len(problems[0].text()) < 500


def test_problems_are_capped() -> None:
    """A stream with thousands of faults names the first ones."""
    assert codes("- yes\n" * 5000) == ["AmbiguousScalar"] * yamlreader.MAX_PROBLEMS
    assert codes("- a\n" * 5000) == ["NotAnObject"] * yamlreader.MAX_PROBLEMS


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(" \n:-#'\"ab01_.{}[]&*!|>%@`,?<\t\\\x85~yesn", max_size=60)))
def test_no_input_raises(source: str | bytes) -> None:
    """Whatever the input is, the answer is objects and problems, and what was read can be written."""
    for parser in FAST_FROM:
        objects, problems = read_by(parser, source)
        text.write_yaml(objects)
        assert all(p.cure and p.message for p in problems)


# ---- what a terminal is shown


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")), st.sampled_from(("", "\n", "\n\t")))
def test_a_terminal_is_shown_text_and_nothing_else(words: str, keep: str) -> None:
    """No control character is left but those that may; what is printable stays as it is, and something stands for all the rest."""
    found = printable(words, keep)

    assert all(c.isprintable() or c in keep for c in found)
    assert printable("".join(c for c in words if c.isprintable() or c in keep), keep) == "".join(c for c in words if c in found)
    assert len(found) >= len(words)

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.rules.language import MAX_DEPTH, Unsupported, check, compile_regex, parse, pcre
from generator.rules.regex_tree import Bytes, Either, End, Repeat, Sequence, Start

ATOMS = ("a", "b", "-", "1", " ", "/", "é", ".", "^", "$", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\.", r"\-", r"\t", "[ab]", "[^a]")
CLASSES = ("[a-b1]", "[-a]", "[a-]", "[^-/]", r"[\d-]", r"[\w.]", r"[^\s]", r"[\]a]", "[+-/]")
REPEATS = ("*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "{1,2}?")
ASCII = st.text("ab1-/ .\t]", max_size=8)


def patterns(atoms: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Regexes of the subset, and some that only look so."""
    repeat = st.sampled_from(REPEATS)
    simple = st.sampled_from(atoms)
    grown = st.recursive(
        simple | st.builds("{}{}".format, simple, repeat),
        lambda inner: (
            st.builds("{}{}".format, inner, inner)
            | st.builds("({}|{})".format, inner, inner)
            | st.builds("(?:{}){}".format, inner, repeat)
            | st.builds("({})".format, inner)
        ),
        max_leaves=6,
    )
    return grown.filter(lambda pattern: check(pattern) is None)


@given(patterns(tuple(a for a in ATOMS if a.isascii()) + CLASSES), ASCII)
@settings(max_examples=200)
def test_an_accepted_regex_means_what_python_takes_it_for(pattern: str, text: str) -> None:
    """For ASCII and no newline the subset has the usual meaning: reading and writing it again changes nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        usual = re.compile(pattern, re.ASCII | re.DOTALL)
    assert bool(compile_regex(pattern).search(text.encode())) == bool(usual.search(text))


@given(patterns(ATOMS + CLASSES))
@settings(max_examples=200)
def test_what_nginx_gets_is_what_python_gets(pattern: str) -> None:
    """Both engines read one text, but for the anchor; it is ASCII, needs no escape of nginx's, and captures nothing."""
    text = pcre(pattern)
    assert text.replace(r"\z", r"\Z").encode() == compile_regex(pattern).pattern
    assert text.isascii()
    assert text.isprintable()
    assert re.compile(text.replace(r"\z", r"\Z")).groups == 0


@given(st.text(st.sampled_from("ab()[]{}?*+|\\^$.,-:<=!P1é\n\ud800"), max_size=12))
@settings(max_examples=200)
def test_any_text_is_accepted_or_refused_with_a_caret_under_the_place(text: str) -> None:
    """No pattern raises anything else, and a caret never points outside the pattern."""
    refusal = check(text)
    if refusal is None:
        assert compile_regex(text).groups == 0
        return
    shown, caret = refusal.caret.split("\n")
    assert len(shown) == len(text)
    assert caret == " " * refusal.offset + "^"
    assert 0 <= refusal.offset <= len(text)


@pytest.mark.parametrize(
    ("pattern", "offset", "words"),
    [
        ("", 0, "empty"),
        ("a\nb", 1, "control character"),
        ("a\ud800", 1, "surrogate"),
        (r"(a)\1", 3, "back-reference"),
        ("x(?=a)", 1, "look-ahead"),
        ("(?!a)", 0, "look-ahead"),
        ("(?<=a)b", 0, "look-behind"),
        ("(?<!a)b", 0, "look-behind"),
        ("(?P<n>a)", 0, "named group"),
        ("(?<n>a)", 0, "named group"),
        ("(?>a)", 0, "atomic"),
        ("(?i)a", 0, "flags"),
        ("(?s:a)", 0, "flags"),
        ("(?#x)", 0, "comment"),
        ("(*UTF)a", 1, "nothing to repeat"),
        ("a|*", 2, "nothing to repeat"),
        ("^*", 1, "nothing to repeat"),
        ("a++", 2, "possessive"),
        ("a**", 2, "second repeat"),
        ("a+?+", 3, "second repeat"),
        ("a{2}{3}", 4, "second repeat"),
        ("a{,3}", 1, r"\{"),
        ("a{b", 1, r"\{"),
        ("a{256}", 1, "above 255"),
        ("a{3,2}", 1, "backwards"),
        ("a{0}", 1, "zero"),
        (r"a\b", 1, "word boundary"),
        (r"\pL", 0, "Unicode class"),
        (r"a\z", 1, "write $"),
        (r"a\n", 1, r"\n"),
        ("a\\", 1, "at the end"),
        ("(a", 0, "without its )"),
        ("a(b|c", 1, "without its )"),
        ("a)", 1, "without its ("),
        ("[a", 0, "without its ]"),
        ("[]a]", 1, r"\]"),
        ("[[:alpha:]]", 1, r"\["),
        ("[é]", 1, "several bytes"),
        ("[b-a]", 2, "backwards"),
        (r"[\w-a]", 3, "one character on each side"),
        ("[a-z-9]", 4, "neither a range"),
        (r"[^\d\D]", 0, "no character"),
    ],
)
def test_what_is_outside_the_subset_is_refused_where_it_stands(pattern: str, offset: int, words: str) -> None:
    """Each construct on which engines differ has its own reason, at its own character."""
    refusal = check(pattern)
    assert refusal is not None
    assert refusal.offset == offset
    assert words in refusal.reason
    with pytest.raises(Unsupported, match=re.escape(refusal.reason)):
        parse(pattern)


@pytest.mark.parametrize(
    ("explodes", "instead"),
    [
        ("^(a+)+$", "^a+$"),
        (r"^(\w+\s?)*$", r"^(\w+(\s\w+)*)?$"),
        ("(a|a)*b", "a*b"),
        ("(foo|far)+", "(f(oo|ar))+"),
        ("(.*,)*", "([^,]*,)*"),
        ("(a?){30}a{30}", "a{30,60}"),
        ("(a{1,9}){1,9}b", "a{1,81}b"),
        ("((ab)*|c)+", "(ab|c)*"),
    ],
)
def test_a_repeat_that_can_explode_is_refused_and_can_be_rewritten(explodes: str, instead: str) -> None:
    """One user's regex must not burn the carrier's CPU for everyone; the same language in one-unambiguous form passes."""
    refusal = check(explodes)
    assert refusal is not None
    assert "repeated part" in refusal.reason
    assert check(instead) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"^/api/v\d+/(?:[^/]+/)*objects$",
        r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        r"^\d{1,3}(\.\d{1,3}){3}$",
        r"^[a-z]+(-[a-z0-9]+)*@example\.com$",
        "((a|b){3})*",
        "alice|bob|alina",
    ],
)
def test_everyday_regexes_are_accepted(pattern: str) -> None:
    """The check for explosions does not refuse what people write."""
    assert check(pattern) is None


def test_dollar_is_the_end_of_the_text_only() -> None:
    """PCRE and Python let `$` match before a last newline, which a path can hold as %0A."""
    assert not compile_regex("^/a$").search(b"/a\n")
    assert compile_regex("^/a.$").search(b"/a\n")
    assert pcre("^/a$") == r"^/a\z"


def test_characters_beyond_ascii_are_their_bytes() -> None:
    """The carrier matches bytes: a repeat takes the whole character, a dot half of it."""
    assert compile_regex("^é+$").search("éé".encode())
    assert not compile_regex("^.$").search("é".encode())
    assert compile_regex("^..$").search("é".encode())
    assert pcre("é?ü") == r"(?:\xc3\xa9)?\xc3\xbc"


def test_the_tree_is_the_plain_reading_of_the_pattern() -> None:
    """Later analyses build automata on this tree."""
    a, digit = Bytes(frozenset(b"a")), Bytes(frozenset(b"0123456789"))
    assert parse(r"^(a|\d{2,})?$") == Sequence((Start(), Repeat(Either((a, Repeat(digit, 2, None))), 0, 1), End()))
    assert parse("a+?") == parse("a+") == Repeat(a, 1, None)
    assert parse("()") == Sequence(())


def test_sizes_are_limited_before_pcre_limits_them() -> None:
    """A regex that nginx would not load keeps the whole configuration from loading, so it is refused here."""
    assert check("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH) is None
    deep = check("(" * 2000 + "a" + ")" * 2000)
    assert deep is not None
    assert deep.offset == MAX_DEPTH
    assert check("[ab]{250}" * 4) is None
    assert check("[ab]{250}" * 5) is not None
    assert check("((a{99}){99}){99}") is not None
    assert check("(?:^^^^^^^^a){200}") is not None

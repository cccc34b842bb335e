"""`bascule ui`: what the page shows, in a real browser and from the keyboard alone; what its server refuses; that names stay text."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from generator.cli import main, ui
from generator.cli.stream import Source, Stream
from generator.errors import InputError, Problem
from generator.page.document import Answer, Form, Shown, page
from generator.page.markup import element
from generator.simulate import settle, world
from generator.text import reading as text
from tests import kube
from tests.browser_lab import Browser, browser, tab

ROOT = Path(__file__).parents[1]
OVERLAP = ROOT / "golden/problem-rule-overlap/input.yaml"
TAKES_ALL = ROOT / "golden/problem-rule-takes-all/input.yaml"
AUDIT = (ROOT / "tests/accessible.js").read_text()
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">'\"></td></textarea>&lt;b&gt;\u202e"
QUERY = {"method": "GET", "url": "/api", "target": "shop/deployment/web", "port": "8080", "headers": "x-user: alice"}


@contextmanager
def served(*files: Path | str, port: int = 0) -> Iterator[str]:
    """The URL of the page about files."""
    names = tuple(map(str, files))
    with ui.serving(ui.kept(Source(names, None, False, None, ())), ", ".join(names), port) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    """A browser."""
    with browser() as address:
        yield address


@pytest.fixture
def window(chromium: str) -> Iterator[Browser]:
    """A tab. Whatever a test does in it, nothing may be complained of on the console."""
    with tab(chromium) as one:
        yield one
        assert one.complaints() == []


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot in which each text that a user chooses is markup."""
    made = [*kube.deployment("web", {"app": "web"}, [kube.container()], 1, 1), kube.service("web", {"app": "web"})]
    to: Any = {"targetNamespace": "shop"}
    objects = [
        *settle(world(made), kube.NOW).values(),
        kube.bridge("alice", "deployment/web", [kube.rule(kube.header("x-user", HOSTILE))], client=HOSTILE, **to),
        kube.bridge("bob", "deployment/web", [kube.rule(kube.path(f"/{HOSTILE}", "exact"))], client="bob", endpoint=f"{HOSTILE}:80", **to),
        kube.bridge("carol", "deployment/web", [kube.rule(kube.header("x-user", HOSTILE))], client=HOSTILE, **to),
    ]
    file = tmp_path_factory.mktemp("hostile") / "in.yaml"
    file.write_text(f"# now: {kube.NOW}\n{text.write_yaml(objects)}")
    return file


# --- in a browser ----------------------------------------------------------------------------------------------------


def test_shows_targets_bridges_and_conflicts(window: Browser) -> None:
    """A golden case is there: each target and bridge with its state, whose what is and where it goes, each clash with its request."""
    with served(OVERLAP) as url:
        window.open(url)
        seen = {name: window.text(f"section[aria-labelledby={name}]") for name in ("targets", "bridges", "conflicts", "problems")}

    assert re.search(r"shop/deployment/web/app.*0 of 1 run one.*PREPARING", seen["targets"], re.DOTALL)
    assert re.search(
        r"alice\s+alice\s+\S+app\s+header x-user is 'alice'\s+port 8080: 10\.200\.0\.1:10000\s+else the cluster", seen["bridges"]
    )
    assert "0 of 1 carriers confirm it" in seen["bridges"]
    assert "for example GET /api -H 'x-user: alice'; alice gets them" in seen["conflicts"]
    assert seen["conflicts"].count("RuleOverlap") == 3
    assert "Nothing else is wrong." in seen["problems"]


def test_shows_who_is_refused(window: Browser) -> None:
    """A bridge that is refused has the reason and the cure beside its state."""
    with served(TAKES_ALL) as url:
        window.open(url)

        row = window.text("section[aria-labelledby=bridges]")

    assert re.search(r"ERROR\s+RuleTakesAll: ", row)


def test_explains_from_the_keyboard(window: Browser) -> None:
    """Tab, typing and Enter are enough to ask who gets a request; the answer says why each other rule does not."""
    with served(OVERLAP) as url:
        window.open(url)
        for field, words in (("url", "/api"), ("headers", "x-user: alice"), ("port", "8080")):
            for _ in range(40):
                window.press("Tab")
                if window.value("document.activeElement.id") == field:
                    break
            assert window.value("document.activeElement.id") == field
            window.type(words)
        window.press("Enter")
        window.until("document.querySelector('#answer h3')")
        answer = window.text("#answer")
        asked = window.value("location.search")

    assert answer.startswith("alice gets it\n")
    assert re.search(r"bob\s+0\s+matches but loses\s+less specific: ", answer)
    assert re.search(r"carol\s+0\s+no match\s+cookie user is missing", answer)
    assert "headers=x-user%3A+alice" in asked


def test_the_keyboard_reaches_everything_and_shows_where_it_is(window: Browser) -> None:
    """Tab goes through all that can be used, in the order of the page, first to the content, and each time an outline shows it."""
    outlined = "(e => getComputedStyle(e).outlineStyle === 'solid' && parseFloat(getComputedStyle(e).outlineWidth) >= 2)"
    onscreen = "(r => r.width > 0 && r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight)"
    usable = "[...document.querySelectorAll('a, input, select, textarea, button')]"
    with served(OVERLAP) as url:
        window.open(url)
        count = window.value(f"{usable}.length")
        reached = []
        for _ in range(count):
            window.press("Tab")
            reached.append(window.value(f"{usable}.indexOf(document.activeElement)"))
            assert window.value(f"{outlined}(document.activeElement)"), reached
            assert window.value(f"{onscreen}(document.activeElement.getBoundingClientRect())"), reached

        window.open(f"{url}?")
        window.press("Tab")
        assert window.value("document.activeElement.textContent") == "Skip to content"
        window.press("Enter")
        window.until("document.activeElement.id === 'main'")

    assert reached == list(range(count))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 320])
@pytest.mark.parametrize("case", [OVERLAP, TAKES_ALL, "hostile"], ids=["overlap", "refused", "hostile"])
def test_is_accessible(window: Browser, hostile: Path, case: Path | str, width: int, scheme: str) -> None:
    """Labels, headings, landmarks, contrast, and no scrolling sideways: wide and narrow, light and dark, with an answer on it."""
    window.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    window.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    with served(hostile if case == "hostile" else case) as url:
        window.open(f"{url}?{urlencode(QUERY)}")

        assert window.value(AUDIT) == []
        assert (
            window.value("getComputedStyle(document.body).backgroundColor")
            == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        )


def test_a_clash_leads_to_who_gets_its_request(window: Browser) -> None:
    """From the keyboard: the link of an overlap fills the form with the request that it names, and the answer is the one that it gives."""
    with served(OVERLAP) as url:
        window.open(url)
        told = window.value("[...document.querySelectorAll('#conflicts-part li')].map(li => li.innerText)")
        window.value("document.querySelectorAll('#conflicts-part a')[1].focus()")
        window.press("Enter")
        window.until("document.querySelector('#answer h3')")
        fields = {name: window.value(f"document.getElementById('{name}').value") for name in Form._fields}

        assert "for example GET / -H 'x-user: alice' -H 'cookie: user=carol'; alice gets them" in told[1]
        assert fields == QUERY | {"url": "/", "target": "shop/deployment/web/app", "headers": "x-user: alice\ncookie: user=carol"}
        assert window.text("#answer h3") == "alice gets it"
        assert window.value(AUDIT) == []


def test_an_audit_sees_what_is_wrong(window: Browser) -> None:
    """The checks of the test before can fail: each of these changes is found."""
    with served(OVERLAP) as url:
        for harm, found in (
            ("document.querySelector('label').remove()", "has no label"),
            ("document.querySelector('h2').outerHTML = '<h4>x</h4>'", "below h1"),
            ("document.querySelector('main').style.color = '#999'", "contrast"),
            ("document.querySelector('table').style.width = '3000px'", "px in"),
            ("document.documentElement.lang = ''", "language"),
        ):
            window.open(f"{url}?{found.replace(' ', '')}")
            window.until("document.querySelector('table')")
            window.value(f"{{ {harm}; }}")

            assert any(found in line for line in window.value(AUDIT)), harm


def test_hostile_names_stay_text(window: Browser, hostile: Path) -> None:
    """Markup in names, values, targets and in what is asked is shown as it is written, and never done."""
    with served(hostile) as url:
        window.open(f"{url}?{urlencode(QUERY | {'url': '/' + HOSTILE, 'headers': f'x-user: {HOSTILE}', 'method': HOSTILE})}")
        scripts = window.value("[...document.scripts].map(s => s.getAttribute('src'))")
        title, images = window.value("document.title"), window.value("document.images.length")
        shown = window.text()

    assert (scripts, images) == (["/page.js"], 0)
    assert title == f"bascule: {hostile}"
    assert shown.count("<script>document.title='taken'</script>") > 5
    assert "\u202e" not in shown


def test_nothing_leaves_the_machine(window: Browser) -> None:
    """Page, style, script and each refresh: the browser asks nobody but the server."""
    with served(OVERLAP) as url:
        window.open(f"{url}?{urlencode(QUERY)}")
        window.until("performance.getEntriesByType('resource').some(e => e.initiatorType === 'fetch')")

        asked = window.requested()

    assert {urlsplit(each).netloc for each in asked} == {urlsplit(url).netloc}
    assert {urlsplit(each).path for each in asked} >= {"/", "/page.css", "/page.js"}


def test_works_without_scripts(window: Browser) -> None:
    """The form asks by itself, and the answer is part of the page that comes."""
    window.call("Emulation.setScriptExecutionDisabled", value=True)
    with served(OVERLAP) as url:
        window.open(url)
        for _ in range(40):
            window.press("Tab")
            if window.value("document.activeElement.id") == "url":
                break
        window.type("/api")
        window.press("Enter")
        window.until("document.querySelector('#answer h3')")

        assert window.text("#answer h3") == "bob gets it"


def test_follows_what_changes(window: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes is taken over, while what was typed, the answer and the focus stay; what cannot be read is a banner until it can."""
    monkeypatch.setattr(ui, "PAUSE", 0)
    objects, _ = text.read(OVERLAP.read_text(), "in.yaml")
    more = [*settle(world(kube.deployment("api", {"app": "api"}, [kube.container()], 1, 7)), kube.NOW).values()]
    more.append(kube.bridge("dave", "deployment/api", [], client="dave", targetNamespace="shop"))
    broken = Stream((), kube.NOW, (Problem("ClusterUnreachable", "https://a", "Connection refused", "Check the address."),))
    streams = {"now": Stream(tuple(objects), kube.NOW)}
    monkeypatch.setattr(Source, "read", lambda _: streams["now"])
    source = Source(("in.yaml",), None, False, None, ())
    with ui.serving(ui.kept(source), "in.yaml", 0) as url:
        window.open(f"{url}?{urlencode(QUERY)}")
        window.value("document.getElementById('url').value = '/typed'")
        window.value("document.querySelector('#targets-part a').focus()")
        assert "carol" in window.text("#bridges-part")

        left = [o for o in objects if o["metadata"]["name"] not in ("carol", "alice")]
        streams["now"] = Stream((*left, *more), kube.NOW)
        window.until("!document.querySelector('#bridges-part').innerText.includes('carol')")
        window.until("document.querySelector('#answer h3').innerText === 'bob gets it'")
        window.until("document.querySelector('#targets-part').innerText.includes('shop/deployment/api')")
        assert window.value("document.activeElement.getAttribute('aria-label')") == "routes of shop/deployment/web/app"
        assert window.value("document.getElementById('url').value") == "/typed"

        streams["now"] = broken
        window.until("document.querySelector('#trouble').innerText.includes('ClusterUnreachable: https://a')")
        assert "bob" in window.text("#bridges-part")
        assert window.value(AUDIT) == []

        streams["now"] = Stream(tuple(objects), kube.NOW)
        window.until("document.querySelector('#trouble').innerText === ''")
        window.until("document.querySelector('#bridges-part').innerText.includes('carol')")


def test_says_when_the_server_is_gone(chromium: str) -> None:
    """A page whose server has ended says that what it shows is old."""
    with tab(chromium) as window:
        with served(OVERLAP) as url:
            window.open(url)
            assert window.value("document.getElementById('offline').hidden")
        window.until("!document.getElementById('offline').hidden")

        assert "what is shown is old" in window.text("main")


# --- the server ------------------------------------------------------------------------------------------------------


def ask(url: str, path: str = "/", method: str = "GET", host: str | None = None, body: bytes | None = None) -> tuple[int, Any, str]:
    """Status, headers and body of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        connection.request(method, path, body=body, headers={"host": parts.netloc if host is None else host})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""])
def test_another_host_is_refused(host: str) -> None:
    """A name that was led to 127.0.0.1 reads nothing, and is told why."""
    with served(OVERLAP) as url:
        status, _, body = ask(url, host=host.format(port=urlsplit(url).port))

        assert (status, "alice" in body) == (403, False)
        assert f"must be {urlsplit(url).netloc} or localhost:{urlsplit(url).port}" in body
        assert ask(url, host=f"localhost:{urlsplit(url).port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_only_get_is_answered(method: str) -> None:
    """Everything else is 405, whatever it carries."""
    with served(OVERLAP) as url:
        status, headers, _ = ask(url, method=method, body=b"x" * 5000)

    assert (status, headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path", ["/no", "/page.html", "/../pyproject.toml", "/static/page.css", "/routes.svg?target=web", "/routes.svg?target=a/b/c"]
)
def test_an_unknown_path_is_404(path: str) -> None:
    """There is the page, its three files and a picture of each target; no path leads elsewhere."""
    with served(OVERLAP) as url:
        assert ask(url, path)[0] == 404


@pytest.mark.parametrize(
    "path", ["/", "/?url=%FF&method=%00&headers=%0D%0Ax&port=9", "/page.css", "/routes.svg?target=shop/deployment/web", "/no"]
)
def test_headers_keep_others_out(path: str) -> None:
    """Nothing inline, nothing from elsewhere, in no frame, for no other origin, never kept."""
    with served(OVERLAP) as url:
        _, headers, body = ask(url, path)

    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "script-src 'unsafe-inline'" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["cross-origin-resource-policy"]) == ("nosniff", "same-origin")
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert body


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"headers": "no colon"}, "OptionInvalid"),
        ({"port": "x"}, "PortUnknown"),
        ({"port": "1234"}, "PortUnknown"),
        ({"target": "web"}, "TargetUnknown"),
        ({"target": "shop/deployment/none"}, "TargetUnknown"),
    ],
)
def test_a_wrong_question_is_told_so(change: dict[str, str], code: str) -> None:
    """What cannot be asked gets the code that the command line gives, beside the form with what was typed."""
    with served(OVERLAP) as url:
        status, _, body = ask(url, f"/?{urlencode(QUERY | change)}")

    assert status == 200
    assert code in body[body.index('id="answer"') :]
    assert all(value in body for value in change.values())


def test_listens_on_loopback_alone() -> None:
    """The only socket is one of 127.0.0.1."""
    with served(OVERLAP) as url:
        port = f"{urlsplit(url).port:04X}"
        own = [line.split()[1] for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]

    assert [address for address in own if address.endswith(f":{port}") and address.split(":")[0] != "0100007F"] == []
    assert f"0100007F:{port}" in own


def test_reads_no_more_often_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages are open, what was just read is read again only after a pause."""
    looks = []
    read = Source.read

    def counted(source: Source) -> Stream:
        looks.append(source)
        return read(source)

    monkeypatch.setattr(Source, "read", counted)
    monkeypatch.setattr(ui, "PAUSE", 3600)
    with served(OVERLAP) as url:
        for _ in range(5):
            ask(url)

    assert len(looks) == 1


# --- the command -----------------------------------------------------------------------------------------------------


def test_broken_input_ends_it_before_it_serves(tmp_path: Path) -> None:
    """The same coded error as of every command, and exit code 2."""
    file = tmp_path / "in.yaml"
    file.write_text("kind: [\n")

    result = CliRunner().invoke(main, ["ui", "--no-open", "-f", str(file)])

    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error YamlSyntax: {file}, " in result.stderr


def test_port_that_is_taken() -> None:
    """A port that somebody has is a coded error too."""
    with served(OVERLAP) as url:
        result = CliRunner().invoke(main, ["ui", "--no-open", "-f", str(OVERLAP), "--port", str(urlsplit(url).port)])

    assert result.exit_code == 2
    assert "error OptionInvalid: --port: " in result.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ends_by_a_signal(end: signal.Signals) -> None:
    """It says its URL, serves, and ends with 0 on Ctrl-C or SIGTERM."""
    command = [sys.executable, "-m", "generator", "ui", "--no-open", "-f", str(OVERLAP)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        url = process.stdout.readline().split()[0]
        assert ask(url)[0] == 200
        process.send_signal(end)
        _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (0, "")


# --- escaping --------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of a document with their attributes' names, and its text."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.words = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag with the names of its attributes."""
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Its end."""
        self.tags.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        """What is read."""
        self.words += data


words = st.text(max_size=20) | st.sampled_from(
    [HOSTILE, "</title>", "<!--", "]]>", "</textarea><script>", '"', "'", "&amp;", "\0", "\ud800"]
)


@given(words, words)
def test_text_is_never_markup(content: str, attribute: str) -> None:
    """Whatever text and attribute are, there is one element, and what can be printed of the text is what is read."""
    found = Tags(element("p", content, title=attribute))

    assert found.tags == [("p", "title"), ("/p",)]
    assert found.words == "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in content)


def filled(word: str) -> Shown:
    """A page with a text in every place that can hold one."""
    problem = {"code": word, "severity": "warning", "place": word, "message": word, "cure": word}
    target = {
        "target": word, "mount": word, "state": "ERROR", "originals": {"total": 1, "carried": 0},
        "shadows": {"total": 0, "serving": 0}, "waitsFor": [word], "problem": problem,
    }  # fmt: skip
    bridge = {
        "name": word, "owner": word, "target": word, "ports": [80], "rules": [word], "state": word, "waitsFor": [word], "problem": None,
        "created": word, "goesTo": {"80": word}, "mode": "intercept", "fallback": "cluster",
    }  # fmt: skip
    check = {"problems": [problem, {**problem, "code": "RuleOverlap", "asks": {"url": word, "headers": word}}]}
    answer = Answer(word, word, (word,), ((word, word, word, word),))
    status = {"operator": word, "targets": [target], "bridges": [bridge]}
    return Shown(word, status, check, word, Form(f"x{word}", *(f"x{word}",) * 4), [problem], answer)


@given(words)
def test_no_text_changes_the_page(word: str) -> None:
    """The tags of the page are the same whatever stands in the objects and in the form."""
    assert Tags(page(filled(f"x{word}"))).tags == Tags(page(filled("x"))).tags


def test_errors_of_the_first_look_are_raised() -> None:
    """Nothing is served of what cannot be read at all."""
    with pytest.raises(InputError):
        ui.kept(Source(("/none.yaml",), None, False, None, ()))

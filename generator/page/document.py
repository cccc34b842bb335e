"""What `status` and `check` print with `-o json`, and what `explain` answers -> one HTML page.

It needs no script: its form asks with GET. A script may fetch the page again and take over each element with `data-part`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from generator.page.markup import Html, element

Data = Mapping[str, Any]

_CONFLICTS: Final = ("RuleIdentical", "RuleNeverFires", "RuleTakesAll", "RuleOverlap", "RuleUndecided")
_SECTIONS: Final = {
    "targets": "Targets",
    "bridges": "Bridges",
    "conflicts": "Conflicts",
    "problems": "Problems",
    "explain": "Explain a request",
}
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Form(NamedTuple):
    """The fields of the form, as they were typed. headers: a line each."""

    method: str = ""
    url: str = ""
    target: str = ""
    port: str = ""
    headers: str = ""


class Answer(NamedTuple):
    """Who gets a request. asked: the request in words. why: lines. considered: bridge, rule or "", verdict and reason of each other one."""

    who: str
    asked: str
    why: tuple[str, ...]
    considered: tuple[tuple[str, str, str, str], ...]


class Shown(NamedTuple):
    """What the page is about. source: what is read, in words. status, check: Status and Check; a problem's `asks`: fields of the form.

    operator: who carries it out, in words. trouble: problems for which what is shown is not of now. answer: to the form; wrong: problems
    of the form.
    """

    source: str
    status: Data
    check: Data
    operator: str = ""
    form: Form = Form()
    trouble: Sequence[Data] = ()
    answer: Answer | None = None
    wrong: Sequence[Data] = ()


def page(shown: Shown) -> str:
    """The page."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"bascule: {shown.source}"),
        element("link", rel="icon", href="/icon.svg"),
        element("link", rel="stylesheet", href="/page.css"),
        element("script", src="/page.js", defer=True),
    )
    links = (element("li", element("a", title, href=f"#{name}")) for name, title in _SECTIONS.items())
    header = element(
        "header",
        element("h1", "bascule"),
        element("p", shown.source),
        element("p", summary(shown), id="summary", role="status", data_part=True),
        element("nav", element("ul", *links), aria_label="Sections"),
    )
    conflicts = [p for p in shown.check["problems"] if p["code"] in _CONFLICTS]
    problems = [p for p in shown.check["problems"] if p["code"] not in _CONFLICTS]
    main = element(
        "main",
        element("div", *_trouble(shown.trouble), id="trouble", role="alert", data_part=True),
        element("div", element("p", "bascule ui does not answer; what is shown is old."), id="offline", role="alert", hidden=True),
        _section("targets", _targets(shown.status["targets"])),
        _section("bridges", _bridges(shown.status["bridges"])),
        _section("conflicts", _problems(conflicts, "No two bridges want the same request.")),
        _section("problems", _problems(problems, "Nothing else is wrong.")),
        element("section", element("h2", _SECTIONS["explain"], id="explain"), *_explain(shown), aria_labelledby="explain"),
        id="main",
        tabindex="-1",
    )
    body = element("body", element("a", "Skip to content", href="#main", class_="skip"), header, main)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def summary(shown: Shown) -> str:
    """The page in a line."""
    parts, status, check = [], shown.status, shown.check
    for what in ("targets", "bridges"):
        active = sum(each["state"] == "ACTIVE" for each in status[what])
        parts.append(f"{active} of {len(status[what])} {what} ACTIVE")
    refused = sum(p["severity"] != "warning" for p in check["problems"])
    parts.append(f"{refused} refused, {_counted(len(check['problems']) - refused, 'warning')}")
    return "; ".join(filter(None, (*parts, shown.operator)))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _section(name: str, content: Html) -> Html:
    heading = element("h2", _SECTIONS[name], id=name)
    return element("section", heading, element("div", content, id=f"{name}-part", data_part=True), aria_labelledby=name)


def _table(name: str, heads: Sequence[str], rows: Iterable[Sequence[Html]]) -> Html:
    """Rows whose first cell names them."""
    head = element("tr", *(element("th", each, scope="col") for each in heads))
    body = (
        element("tr", element("th", row[0], scope="row"), *(element("td", cell, data_head=heads[i]) for i, cell in enumerate(row[1:], 1)))
        for row in rows
    )
    return element("table", element("thead", head), element("tbody", *body), aria_labelledby=name)


def _targets(targets: Sequence[Data]) -> Html:
    if not targets:
        return element("p", "No workload is bridged, is to be, or is on its way back.")
    heads = ("Target", "Carriers", "Shadows", "State")
    return _table("targets", heads, ((_target(t), *_counts(t), _state(t)) for t in targets))


def _target(target: Data) -> Html:
    """Its name, with the picture of its routes."""
    way = f"/routes.svg?{urlencode({'target': target['target']}, errors='replace')}"
    parts = [element("span", target["target"])]
    if target["originals"]["total"]:
        parts += [Html(" "), element("a", "routes", href=way, aria_label=f"routes of {target['target']}")]
    return Html("".join(parts))


def _counts(target: Data) -> tuple[Html, Html]:
    originals, shadows = target["originals"], target["shadows"]
    return (
        element("span", f"{originals['carried']} of {originals['total']} run one"),
        element("span", f"{shadows['serving']} of {shadows['total']} serve"),
    )


def _bridges(bridges: Sequence[Data]) -> Html:
    if not bridges:
        return element("p", "There is no bridge.")
    heads = ("Bridge", "Owner", "Target", "Takes", "Goes to", "State")
    rows = ([element("span", b["name"]), element("span", b["owner"]), element("span", b["target"]), *_ways(b), _state(b)] for b in bridges)
    return _table("bridges", heads, rows)


def _ways(bridge: Data) -> tuple[Html, Html]:
    """Which requests, and where to."""
    rules = element("ul", *(element("li", rule) for rule in bridge["rules"])) if bridge["rules"] else Html("")
    ports = [f"port {port}: {bridge['goesTo'].get(str(port), 'not known yet')}" for port in bridge["ports"]]
    if bridge["mode"] == "mirror":
        ports.append("as a copy; the cluster answers")
    elif bridge["fallback"]:
        ports.append("else the cluster answers" if bridge["fallback"] == "cluster" else "else 502")
    return rules, element("ul", *(element("li", each) for each in ports))


def _state(item: Data) -> Html:
    """The state, and why it is not ACTIVE."""
    problem = item["problem"]
    notes = [f"{problem['code']}: {problem['message']}", problem["cure"]] if problem else item["waitsFor"]
    word = element("strong", item["state"], class_=f"state {item['state'].lower()}")
    return Html(word + "".join(element("p", note) for note in notes))


def _problems(problems: Sequence[Data], none: str = "") -> Html:
    if not problems:
        return element("p", none)
    return element("ul", *(element("li", _problem(p)) for p in problems), class_="problems")


def _problem(problem: Data) -> Html:
    word = "error" if problem["severity"] == "input" else str(problem["severity"])
    head = element("p", element("strong", word, class_=f"state {word}"), f" {problem['code']}: {problem['place']}")
    return Html(head + element("p", problem["message"]) + element("p", problem["cure"], class_="cure") + _question(problem))


def _question(problem: Data) -> Html:
    """A link that fills the form with the request that the problem names, and answers it."""
    if not problem.get("asks"):
        return Html("")
    way = f"/?{urlencode(problem['asks'], errors='replace')}#answer"
    return element("p", element("a", "Explain this request", href=way, aria_label=f"Explain the request of {problem['place']}"))


def _trouble(problems: Sequence[Data]) -> list[Html]:
    """The banner over what is not of now."""
    return [element("p", "What is shown is not of now:"), _problems(problems)] if problems else []


def _explain(shown: Shown) -> tuple[Html, ...]:
    """The form and the answer."""
    form, targets = shown.form, [t["target"] for t in shown.status["targets"]]
    methods = (
        element("option", method, selected=method == (form.method or "GET")) for method in dict.fromkeys((*_METHODS, form.method)) if method
    )
    aims = [(b["target"], str(b["ports"][0])) for b in shown.status["bridges"] if b["ports"]]
    target, port = (*aims, *((each, "") for each in targets), ("", ""))[0]
    fields = (
        _field("method", "Method", element("select", *methods, id="method", name="method")),
        _field("url", "URL or path", _input("url", form.url or "/")),
        _field(
            "headers",
            "Headers, one a line",
            element("textarea", form.headers, id="headers", name="headers", rows="3", spellcheck="false"),
        ),
        _field("target", "Target", _input("target", form.target or target, list="known")),
        _field("port", "Port of the container", _input("port", form.port or port, inputmode="numeric")),
        element("datalist", *(element("option", value=target) for target in targets), id="known", data_part=True),
        element("button", "Explain", type="submit"),
    )
    answer = element("div", *_answer(shown), id="answer", role="status", data_part=True)
    return element("form", *fields, action="/#answer", method="get"), answer


def _field(name: str, label: str, control: Html) -> Html:
    return element("p", element("label", label, for_=name), control)


def _input(name: str, value: str, **more: str) -> Html:
    return element("input", id=name, name=name, value=value, required=True, autocomplete="off", spellcheck="false", **more)


def _answer(shown: Shown) -> list[Html]:
    """Who gets it and why, and every other rule with what was against it."""
    if shown.wrong:
        return [_problems(shown.wrong)]
    if shown.answer is None:
        return []
    who, asked, why, considered = shown.answer
    parts = [element("h3", who), element("p", asked), *(element("p", line) for line in why)]
    if considered:
        rows = ([element("span", text) for text in each] for each in considered)
        parts += [element("h4", "Considered", id="considered"), _table("considered", ("Bridge", "Rule", "Verdict", "Why"), rows)]
    return parts

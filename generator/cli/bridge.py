"""`bascule bridge`: from a laptop in one command. What is asked is judged here and said; bridging.py does it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from generator.asked.bridge import decode_bridge
from generator.asked.review import review
from generator.cli import asking, color_option, data, holding, signals, view
from generator.cli.bridging import attached, detached
from generator.cli.check import gravity, problem_lines
from generator.cli.states import Row, Status, Target, judge
from generator.cli.stream import Source, clock, space
from generator.cli.wishes import Concerned, concerned, wishes
from generator.cluster.snapshot import Obj, key_of
from generator.errors import InputError
from generator.rules.conditions import in_words


@click.command
@click.argument("target")
@click.option(
    "--port",
    "ports",
    metavar="CONTAINER:LOCAL",
    multiple=True,
    required=True,
    help="Port of the container and of your process. Repeatable.",
)
@click.option(
    "--header", metavar="NAME=VALUE", multiple=True, help="Only requests with this header. Repeatable, as all conditions: all must hold."
)
@click.option("--path-prefix", metavar="PATH", multiple=True, help="Only this path and what is below it.")
@click.option("--path", metavar="PATH", multiple=True, help="Only this path.")
@click.option("--method", metavar="METHOD", multiple=True, help="Only this method.")
@click.option("--query", metavar="NAME=VALUE", multiple=True, help="Only with this parameter in the query.")
@click.option("--cookie", metavar="NAME=VALUE", multiple=True, help="Only with this cookie.")
@click.option("-n", "--namespace", metavar="NAME", callback=space, help="Of the workload; by default that of the context.")
@click.option("--name", metavar="NAME", default="", help="Of the bridge; by default made from what is asked.")
@click.option("--client", metavar="NAME", help="Who you are to others; by default the kubeconfig's user.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and write nothing.")
@click.option("--detach", is_flag=True, help="Bridge and return; `bascule connect` holds the connection.")
@click.option("--ttl", metavar="DURATION", callback=holding.duration, help="When the bridge goes by itself, as in 90s, 5m or 2h.")
@click.option(
    "--fallback",
    type=click.Choice(["cluster", "error"]),
    default="cluster",
    show_default=True,
    help="Who answers while your process does not: the cluster, or a 502.",
)
@click.option("--context", metavar="NAME", help="Of the kubeconfig (KUBECONFIG, ~/.kube/config); its current one by default.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: a document a line for each event."
)
@color_option
@click.pass_context
def bridge(
    ctx: click.Context, /, target: str, namespace: str | None, client: str | None, context: str | None, output: str, **words: Any
) -> None:
    """Let the requests you choose come to a process on your machine, until Ctrl-C.

    TARGET is a workload, as in deployment/web, or one container of it, as in deployment/web/app. Requests for which all conditions
    hold come to you; all others stay in the cluster, and so do yours while this machine is away. Without a condition you get every
    request that nobody else claims.

    \b
      bascule bridge deployment/web --port 8080:3000 --header x-user=alice

    First it is judged as `bascule check` would; what is refused is not written. Then each request that arrives is shown. Ctrl-C, a
    closed terminal and SIGTERM take the bridge down; a second Ctrl-C leaves that to the operator. If this machine vanishes, the
    cluster answers within seconds, and after a minute the bridge goes by itself; while only your
    process is down, after a day.

    Exit code 0: it was taken down, or with --detach made; 1: it is refused, or was lost; 2: the input cannot be used.
    """
    plain = Source((), None, live=True, context=context, namespaces=())
    wanted = asking.Wanted(
        target=target,
        namespace=namespace or "",
        ports=words["ports"],
        conditions={f"--{name.replace('_', '-')}": words[name] for name in ("header", "path_prefix", "path", "method", "query", "cookie")},
        name=words["name"],
        client=asking.client_name(client, "user"),
        fallback=words["fallback"],
        ttl=words["ttl"],
        held=not words["detach"],
    )
    asking.bridge(wanted, clock())  # what is mistyped is said before a cluster is looked for
    wanted = wanted._replace(namespace=namespace or plain.kube.namespace, client=asking.client_name(client, plain.kube.user))
    asked = asking.bridge(wanted, clock())
    source = replace(plain, namespaces=(asked["targetNamespace"],), asked=(asked,))
    with signals.ends() as stop:
        tell = holding.teller(output, stop)
        plan = _judged(source, asked, tell)
        if plan is None:
            ctx.exit(1)
        if words["dry_run"]:
            tell("unwritten", "nothing was written")
            return
        if words["detach"]:
            ctx.exit(detached(source.kube, asked, tell, stop, named=client is not None))
        ctx.exit(attached(source, asked, plan, tell, stop, named=client is not None))


def _judged(source: Source, asked: Obj, tell: holding.Tell) -> Concerned | None:
    """Say what will happen; whose end is waited for when it is taken down, None if it is refused. Raises InputError."""
    key = key_of(asked)
    try:
        snapshot, desired = source.read().judged()
    except InputError as error:
        if any(p.code != "ClusterForbidden" for p in error.problems):
            raise
        tell("unjudged", f"not judged here; the cluster judges it: {'; '.join(p.message for p in error.problems)}")
        tell(
            "planned",
            "\n".join(_aim(asked, f"{asked['targetNamespace']}/{asked['target']}")),
            bridge=asked["metadata"]["name"],
            asked=_fields(asked),
        )
        return Concerned((), frozenset())
    found = judge(snapshot, desired)
    row = next(b for b in found.bridges if b.name == key.name)
    outcome = next((desired.outcomes.get(at[0]) for k, at in desired.intent.targets.items() if k == key), None)
    container = desired.intent.targets[key][1] if key in desired.intent.targets else ""
    problems = sorted(
        {*desired.intent.problems.get(key, ()), *(outcome.problems if outcome else ()), *(outcome.refusals(container) if outcome else ())},
        key=gravity,
    )
    refused = [p for p in problems if p.severity != "warning"]
    for problem in refused or problems:
        tell("refused" if refused else "warning", "\n".join(problem_lines(problem, view.width())), problem=data.problem_data(problem))
    verdict = review(snapshot, {"operation": "CREATE", "object": asked})
    if not refused and not verdict.allowed:  # somebody who is there already would have to go
        tell("refused", f"refused {verdict.message}", bridge=key.name, message=verdict.message)
    if refused or not verdict.allowed:
        tell("unwritten", "nothing was written")
        return None
    at = next((t for t in found.targets if t.written == row.written), None)
    tell(
        "planned",
        "\n".join((*_aim(asked, row.written), *_concerning(found, row, at))),
        bridge=asked["metadata"]["name"],
        asked=_fields(asked),
    )
    return concerned(found, wishes([asked], [], delete=False))


def _fields(asked: Obj) -> Obj:
    return {name: asked[name] for name in ("client", "target", "targetNamespace", "portMappings", "providerParameter")} | {
        "name": asked["metadata"]["name"]
    }


def _aim(asked: Obj, written: str) -> Iterator[str]:
    """Whose requests go where."""
    item = decode_bridge(asked)[0]
    assert item
    what = " or ".join(map(in_words, item.rules)) or "every request that nobody else claims"
    for inside, local in item.ports:
        yield from view.wrapped(f"{item.name}: {what} -> port {local} of this machine, from port {inside} of {written}", "  ", view.width())


def _concerning(found: Status, row: Row, at: Target | None) -> Iterator[str]:
    """Which Pods, and who else is there."""
    if at and at.originals:
        pods = f"{at.originals} Pod{'s' * (at.originals != 1)}"
        restarts = "in each its container restarts once, drained first" if at.carried < at.originals else "bridged already, none restarts"
        yield f"{pods}: {restarts}"
    others = [f"{b.name} of {b.owner}" for b in found.bridges if b.written == row.written and b.name != row.name]
    yield from view.wrapped(f"beside you: {', '.join(others)}" if others else "nobody else bridges it", "  ", view.width())

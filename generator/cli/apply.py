"""`bascule apply`: bridges and mounts into the cluster, and, where no operator runs, the steps of the plan until nothing changes."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from generator.cli import color_option, live, view
from generator.cli.diff import SIGNS
from generator.cli.plan import PAINT, counts, step_lines
from generator.cli.states import MOVING, Row, Status, Target, judge, pending
from generator.cli.status import PAINT as STATES
from generator.cli.status import as_text
from generator.cli.stream import Source, Stream, cluster_options
from generator.cli.waiting import seconds, until
from generator.cluster.relay import unheard
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, key_of, notes_over
from generator.desired.waking import next_look
from generator.errors import InputError, Problem
from generator.plan import plan
from generator.simulate import fold

if TYPE_CHECKING:
    from generator.live.kube import Kube

_ASKED: Final = ("GefyraBridgeMount", "GefyraBridge")
"""What is applied, in this order: a mount before its bridges."""
DEFAULTS: Final[Obj] = {
    "provider": "carrier2",
    "portMappings": [],
    **dict.fromkeys(("target", "targetNamespace", "targetContainer", "client", "destinationIP"), ""),
}
"""What the server puts into a bridge where a file leaves it out (overlays/base/crds/gefyrabridges.yaml)."""
_PAUSE: Final = 0.3
"""Seconds between two rounds: each is a few lists."""
_WRITES: Final = 16


class Wish(NamedTuple):
    """One object of the files: what is to be written, `create`, `patch` or `delete`, "" for nothing."""

    op: str
    key: Key
    obj: Obj


def wishes(objects: Iterable[Obj], live_: Iterable[Obj], *, delete: bool) -> list[Wish]:
    """What has to be written so that the cluster has the bridges and mounts of the files, or has them no more.

    Raises InputError for any other object.
    """
    there = {key_of(o): o for o in live_}
    found = []
    for obj in objects:
        key = key_of(obj)
        if key.kind not in _ASKED:
            cure = "Leave it out, or write it with `kubectl apply`."
            raise InputError(Problem("NotAnObject", str(key), "only bridges and mounts are applied", cure))
        old = there.get(key)
        if delete:
            found.append(Wish("delete" if old else "", key, obj))
        else:
            new = _written(old, obj)
            found.append(Wish("create" if old is None else "" if old == new else "patch", key, new))
    order = [_ASKED.index(w.key.kind) for w in found]
    return [w for _, w in sorted(zip(order, found, strict=True), key=lambda pair: pair[0], reverse=delete)]


def _written(old: Obj | None, obj: Obj) -> Obj:
    """The object to write: that of the file, under what the server and the operator have written. The kind is spelled as Gefyra's."""
    plain = {**obj, "kind": obj["kind"].lower()}
    if old is None:
        return plain
    kept: Obj = {k: old[k] for k in ("state", "stateTransitions", "status", "clusterEndpoint") if k in old and not obj.get(k)}
    kept |= {k: v for k, v in DEFAULTS.items() if k not in obj and old.get(k) == v}
    return {**plain, **kept, "metadata": {**old["metadata"], **notes_over(old, obj)}}


def put(kube: Kube, wish: Wish) -> None:
    """Write one object. Raises KubeError."""
    from generator.live.failures import NotFound  # noqa: PLC0415  # only when a cluster is written to

    if wish.op == "create":
        kube.create(wish.obj)
    elif wish.op == "patch":
        kube.replace(wish.obj)
    elif wish.op == "delete":
        try:
            kube.delete(wish.key)
        except NotFound:
            return


@click.command
@click.option("-f", "--filename", metavar="FILE", multiple=True, help="Bridges and mounts to write; - is standard input. Repeatable.")
@click.option("--delete", is_flag=True, help="Delete those of the files instead, and wait until their targets are as before.")
@cluster_options
@click.option("--dry-run", type=click.Choice(["server"]), help="Let the API server judge the first writes, and keep none.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout", metavar="DURATION", callback=seconds, default="60s", show_default=True, help="How long to go on, as in 90s, 5m or 1h."
)
@color_option
@click.pass_context
def apply(
    ctx: click.Context,
    filename: tuple[str, ...],
    delete: bool,
    context: str | None,
    namespace: tuple[str, ...],
    dry_run: str | None,
    yes: bool,
    timeout: float,
) -> None:
    """Write bridges and mounts, and wait until they are ACTIVE.

    Where an operator runs, or the account may not see whether one does, it does the rest. Where none runs, this command does: it reads,
    plans and writes until nothing changes any more, and without -f carries on from wherever the cluster stands. It may be
    interrupted, and run again.

    Before it writes, it prints what it is about to do, and on a terminal asks.

    Exit code 0; 1 if something is refused, declined or not reached in time; 2 if the input cannot be used.
    """
    if delete and not filename:
        raise click.UsageError("--delete needs -f.")
    source = Source(filename, None, live=True, context=context, namespaces=namespace)
    given = source.given.usable().objects
    now, leader = _read(replace(source, files=()))
    if leader.holder and not filename:
        view.fail(f"an operator is running ({leader.holder}) and does this; `bascule status --watch` shows how far it is")
        ctx.exit(2)
    if leader.holder is None and not filename:
        view.fail(f"{leader.words}, and this does what one does: let it `get` Lease gefyra/bascule-operator")
        ctx.exit(2)
    asked = wishes(given, now.objects, delete=delete)
    then = _without(now, asked) if delete else _read(source)[0]
    whose = concerned(judge(*(now if delete else then).judged()), asked) if filename else None
    if whose and not delete and (refused := [i.problem for i in whose.items if i.problem and i.problem.severity != "warning"]):
        view.complain(refused)
        view.fail("nothing was written")
        ctx.exit(1)
    writes, run = [w for w in asked if w.op], fold(then.objects, then.now)
    moves = bool(writes or run.changes) or next_look(run.desired, then.now) is not None
    if not moves and not (whose and pending(whose.items)):
        view.show("nothing to do\n")
        ctx.exit(0)
    view.show("".join(f"{line}\n" for line in (*(f"{SIGNS[w.op]} {w.key}" for w in writes), *counts(run, view.width()))), PAINT)
    if dry_run:
        ctx.exit(_tried(live.account(context, dry_run=True), writes, then))
    if not yes and view.is_asked() and not click.confirm("Go on?", err=True):
        view.note("nothing was written")
        ctx.exit(1)
    with live.answers(source.kube):
        for wish in writes:
            put(source.kube, wish)
    if leader.holder is None:
        view.note(f"{leader.words}; one is waited for")
    watched = replace(source, files=(), namespaces=_spaces(source, now, then))
    ctx.exit(0 if _go_on(watched, whose, timeout) else 1)


def _read(source: Source) -> tuple[Stream, live.Leader]:
    """What is there now, and who leads. Where nobody does, nobody keeps the relay's report, and no bridge goes for what it says."""
    stream = source.read().usable()
    leader = live.leader(source.kube, stream.now)
    return (stream if leader.holder != "" else replace(stream, objects=unheard(stream.objects))), leader


class Concerned(NamedTuple):
    """Whose end is waited for. items: the rows of what is asked, before it is written. targets: their workloads."""

    items: tuple[Target | Row, ...]
    targets: frozenset[str]

    def of(self, found: Status) -> tuple[Target | Row, ...]:
        """Their rows now: what is asked, its targets, and bridges beside it that are told a new configuration."""
        mounts, bridges = ({n for kind, n in map(_name, self.items) if kind is k} for k in (Target, Row))
        targets = [t for t in found.targets if t.mount in mounts or _workload(t) in self.targets]
        return (*targets, *(b for b in found.bridges if b.name in bridges or (_workload(b) in self.targets and b.state == "INSTALLING")))


def _name(item: Target | Row) -> tuple[type, str]:
    return type(item), item.mount if isinstance(item, Target) else item.name


def _workload(item: Target | Row) -> str:
    """NAMESPACE/KIND/NAME; the way back no longer knows a container."""
    return "/".join(item.written.split("/")[:3])


def concerned(found: Status, asked: Iterable[Wish]) -> Concerned:
    """The rows of what is asked, and the workloads that they are about."""
    keys = {((Target if w.key.kind == "GefyraBridgeMount" else Row), w.key.name) for w in asked}
    items = tuple(i for i in found.items if _name(i) in keys)
    return Concerned(items, frozenset(map(_workload, items)))


def _without(now: Stream, asked: Iterable[Wish]) -> Stream:
    keys = {w.key for w in asked}
    return Stream(tuple(o for o in now.objects if key_of(o) not in keys), now.now)


def _spaces(source: Source, *streams: Stream) -> tuple[str, ...]:
    """The namespaces to go on reading: also those that only what is deleted has named."""
    from generator.live import reading  # noqa: PLC0415  # only when a cluster is read

    objects = [o for stream in streams for o in stream.objects]
    return source.namespaces or tuple(sorted({*reading.named(objects), *reading.settings(objects)}))


def _tried(kube: Kube, writes: Iterable[Wish], then: Stream) -> int:
    """Let the server judge what is written first: bridges and mounts, and the first step but for what a carrier has to take."""
    from generator.live import apply as live_apply  # noqa: PLC0415  # only when a cluster is written to

    with live.answers(kube), ThreadPoolExecutor(_WRITES) as pool:
        for wish in writes:
            put(kube, wish)
        changes = [c for c in plan(*then.judged()) if c.key.kind not in OUR_KINDS.values() and not c.deliver]
        result = live_apply.write(kube, changes, pool)
    for change, error in result.failed:
        view.fail(f"{change.op} {change.key}: {error}")
    if not result.failed:
        view.show("the server would take the first step; nothing was written\n")
    return int(bool(result.failed))


def _go_on(source: Source, whose: Concerned | None, timeout: float) -> bool:
    """Until what is concerned is ACTIVE or gone, and, if we are who writes, nothing changes any more; whether that was reached.

    We write while no operator runs: one that ends meanwhile, or has ended without a word, is replaced.
    """
    from generator.live import apply as live_apply  # noqa: PLC0415  # only when a cluster is written to
    from generator.live.failures import Forbidden  # noqa: PLC0415

    number = 0
    with ThreadPoolExecutor(_WRITES) as pool:

        def look() -> tuple[tuple[tuple[Target | Row, ...], str], list[str]]:
            nonlocal number
            stream, leader = _read(source)
            writes = leader.holder == ""
            snapshot, desired = stream.judged()
            found = judge(snapshot, desired)
            items = whose.of(found) if whose else tuple(i for i in found.items if i.state in MOVING)
            missing = pending(items)
            changes = plan(snapshot, desired) if writes else ()
            if changes:
                result = live_apply.write(source.kube, changes, pool)
                if result.written:
                    number += 1
                    view.show("".join(f"{line}\n" for line in step_lines(number, result.written, view.width())), PAINT)
                with live.answers(source.kube):
                    for _, error in result.failed:
                        if isinstance(error, Forbidden):
                            raise error
                failed = [f"{change.op} {change.key}: {error}" for change, error in result.failed]
                return (items, stream.now), [*failed, *missing] or ["what was written to take effect"]
            if writes and not missing and next_look(desired, stream.now) is not None:
                missing.append("proxies to know that nobody is to be sent to what was drained")
            elif writes and not missing and (rest := fold(stream.objects, stream.now).changes):
                missing.append(f"{rest[0].key}: {rest[0].reason}")
            return (items, stream.now), missing

        (items, now), done = until(look, timeout, _PAUSE)
    if done:
        rows = Status(tuple(i for i in items if isinstance(i, Target)), tuple(i for i in items if isinstance(i, Row)), now)
        view.show(as_text(rows, view.width()), STATES)
    return done

"""`bascule graph`: the routes of a target as a picture."""

from __future__ import annotations

from typing import Any

import click

from generator import graph as drawing
from generator.cli import data, view
from generator.cli.stream import Stream, input_options
from generator.cli.target import resolve, target_option
from generator.cli.winner import takes_no_part
from generator.cluster.snapshot import Snapshot
from generator.graph import Graph
from generator.simulate import fold


def as_data(found: Graph) -> dict[str, Any]:
    """The routes as plain data."""
    return {
        "target": {**data.reference(found.workload), "container": found.container},
        "services": [{"name": name, "ports": list(ports)} for name, ports in found.services],
        "originals": [{"name": p.name, "carrier": p.carried, "shadow": p.shadow or None} for p in found.pods],
        "bridges": [
            {
                "name": b.name,
                "owner": b.owner,
                "port": b.port,
                "rules": [{"order": n, "conditions": words} for n, words in b.rules],
                "address": b.address,
                "mode": b.mode,
                "fallback": b.fallback,
            }
            for b in found.bridges
        ],
        "passedThrough": list(found.passed),
        "refused": [{"bridge": name, "reason": why} for name, why in found.refused],
    }


def target_graph(stream: Stream, target: str | None) -> Graph:
    """The routes of a target, None for the only one, as they are when the steps of `plan` are done. Raises InputError."""
    snapshot, desired = stream.judged()
    at = resolve(snapshot, desired.intent.targets.values(), target)
    run = fold(stream.objects, stream.now)
    end = Snapshot.of(run.end, run.now)
    return drawing.routes(end, run.desired, at, takes_no_part(end, run.desired, at))


@click.command
@target_option
@input_options
@click.option("-o", "--output", type=click.Choice(["mermaid", "svg", "json"]), default="mermaid", show_default=True)
def graph(stream: Stream, target: str | None, output: str) -> None:
    """Draw the routes of a target: client, Services, carriers, bridges with their rules, shadows.

    They are drawn as they are when all steps of `bascule plan` are done.

    \b
      bascule graph --target deployment/web -o svg > routes.svg

    Exit code 0; 2 if the input cannot be used.
    """
    found = target_graph(stream, target)
    if output == "json":
        view.show(data.as_json("Graph", **as_data(found)))
    else:
        view.show(drawing.svg(found) if output == "svg" else drawing.mermaid(found))

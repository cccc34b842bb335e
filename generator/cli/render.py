"""`bascule render`: everything that should exist now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from carrier2 import contract
from generator.cli import data, folder, view
from generator.cli.stream import Stream, input_options
from generator.cluster.snapshot import Obj, key_of
from generator.desired.generate import Desired
from generator.text import reading as text

_OUTPUTS: Final = ("yaml", "json", "text", "nginx")
_NGINX_CONF: Final = contract.CONFIG.rpartition("/")[2]


def as_yaml(desired: Desired) -> str:
    """The objects as YAML documents."""
    return text.write_yaml(map(data.masked, desired.objects))


def as_json(desired: Desired) -> str:
    """The objects, and why each is as it is."""
    reasons = [{**data.reference(key), "reason": reason} for key, reason in desired.reasons.items()]
    return data.as_json("Render", objects=[data.masked(o) for o in desired.objects], reasons=reasons)


def as_table(desired: Desired, columns: int) -> str:
    """Kind, namespace/name and reason of each object, in columns; the reason on a line of its own where there is no room."""
    rows = [(k.kind, f"{k.namespace}/{k.name}", reason) for k, reason in desired.reasons.items()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    lines = [f"{kind:{widths[0]}}  {name:{widths[1]}}  {reason}" for kind, name, reason in rows]
    if max(map(len, lines), default=0) > columns:
        lines = [line for kind, name, reason in rows for line in (f"{kind:{widths[0]}}  {name}", *view.wrapped(reason, "    ", columns))]
    return "".join(f"{line}\n" for line in lines)


def as_nginx(objects: Iterable[Obj]) -> str:
    """Each carrier's nginx.conf under a line with its ConfigMap's name."""
    found = [o for o in objects if o["kind"] == "ConfigMap" and _NGINX_CONF in (o.get("data") or {})]
    return "\n".join(f"# ConfigMap {o['metadata']['namespace']}/{o['metadata']['name']}\n{o['data'][_NGINX_CONF]}" for o in found)


@click.command
@input_options
@click.option("-o", "--output", type=click.Choice(_OUTPUTS), default="yaml", show_default=True, help="nginx: the carriers' nginx.conf.")
@click.option("--output-dir", metavar="DIR", callback=folder.named, help="Write one YAML file per object instead: all, or none.")
def render(stream: Stream, output: str, output_dir: Path | None) -> None:
    """Print everything that should exist now.

    These are whole objects: those that bascule makes, and the Pods, bridges and mounts that it patches. The same input gives
    the same bytes. Warnings and refusals go to standard error. Exit code 0; 2 if the input cannot be used.
    """
    if output_dir and output != "yaml":
        raise click.UsageError(f"--output-dir writes YAML files; leave out -o {output}.")
    _, desired = stream.judged()
    view.complain(desired.problems)
    if output_dir:
        _write(output_dir, desired)
    else:
        builders: dict[str, Any] = {
            "yaml": as_yaml,
            "json": as_json,
            "text": lambda d: as_table(d, view.width()),
            "nginx": lambda d: as_nginx(d.objects),
        }
        view.show(builders[output](desired))


def _write(output_dir: Path, desired: Desired) -> None:
    names = folder.file_names(map(key_of, desired.objects))
    stale = folder.write(output_dir, {names[key_of(o)]: text.write_yaml([data.masked(o)]) for o in desired.objects})
    removed = f"; removed {', '.join(stale)}" if stale else ""
    view.note(f"wrote {len(names)} files to {output_dir}{removed}")

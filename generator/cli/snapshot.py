"""`bascule snapshot`: what the other commands read of a cluster, as a file that gives the same answers elsewhere and later."""

from __future__ import annotations

import click

from generator.cli import color_option, data, view
from generator.cli.stream import NOW, Source, Stream, cluster_options
from generator.text import reading as text


def as_yaml(stream: Stream) -> str:
    """The time in the first line, then the objects; Secrets, should there be any, without their values."""
    return f"{NOW}{stream.now}\n{text.write_yaml(map(data.masked, stream.objects))}"


@click.command
@cluster_options
@color_option
def snapshot(context: str | None, namespace: tuple[str, ...]) -> None:
    """Write what the other commands read of a cluster.

    Its first line is the time, which counts as now where the file is read: `bascule plan -f FILE` prints what `bascule plan`
    would have printed. Secrets and the data of your ConfigMaps are never read; values in `env` of containers are, so look before
    you share it.

    \b
      bascule snapshot > snapshot.yaml
      bascule plan -f snapshot.yaml

    Exit code 0; 2 if the cluster cannot be read.
    """
    view.show(as_yaml(Source((), None, live=True, context=context, namespaces=namespace).read().usable()))

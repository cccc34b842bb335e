"""`bascule connect`: one connection for all bridges of a client."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from generator.cli import asking, color_option, holding, live, signals
from generator.cluster.snapshot import Obj, annotations_of
from generator.errors import InputError
from generator.names import AWAY_GRACE, CLIENT, CONTROL_NAMESPACE

if TYPE_CHECKING:
    from generator.live.kube import Kube

_PAUSE: Final = 1.0
"""Seconds between two looks at the client's bridges: a list by label each."""


@click.command
@click.option("--client", metavar="NAME", help="Whose bridges; by default the kubeconfig's user.")
@click.option("--context", metavar="NAME", help="Of the kubeconfig (KUBECONFIG, ~/.kube/config); its current one by default.")
@click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: a document a line for each event."
)
@color_option
def connect(client: str | None, context: str | None, output: str) -> None:
    """Hold one connection for all your bridges, until Ctrl-C, and show each request that arrives.

    Those are the bridges of your client that go through the relay: made with `bascule bridge --detach`, with `bascule apply` or
    otherwise, now or later. A bridge that a `bascule bridge` holds itself is left to it. The bridges stay when this ends; until you
    connect again the cluster answers.

    \b
      bascule bridge deployment/web --port 8080:3000 --path-prefix /api --detach
      bascule connect

    Exit code 0 when it was ended; 2 if it cannot begin.
    """
    asking.client_name(client, "user")
    kube = live.account(context)
    name = asking.client_name(client, kube.user)
    with signals.ends() as stop:
        tell = holding.teller(output, stop)
        with holding.held(kube, context, name, tell, named=client is not None) as connection:
            tell("connecting", f"client {name}; Ctrl-C ends the connection and leaves the bridges", client=name)
            _follow(kube, name, connection, tell, stop)


def mine(objects: list[Obj], client: str) -> dict[str, Obj]:
    """By name, the bridges that a connection of the client is for."""
    return {
        o["metadata"]["name"]: o
        for o in objects
        if o.get("client") == client and o.get("connectionProvider") == "relay" and AWAY_GRACE not in annotations_of(o)
    }


def _follow(kube: Kube, client: str, connection: holding.Held, tell: holding.Tell, stop: threading.Event) -> None:
    """Lead to this machine what the client's bridges are about, as they come and go."""
    shown: dict[str, tuple[str, str]] = {}
    trouble = ""
    while not stop.is_set():
        try:
            with live.answers(kube):
                found, _ = kube.list_objects("GefyraBridge", CONTROL_NAMESPACE, f"{CLIENT}={client}")
        except InputError as error:
            if error.problems[0].code == "ClusterForbidden":
                raise
            if trouble != str(error):
                trouble = str(error)
                tell("connection", error.problems[0].message, client=client)
        else:
            trouble = ""
            bridges = mine(found, client)
            ports = {name: asking.relay_ports(obj) for name, obj in bridges.items()}
            connection.lead(ports)
            held = connection.holds()
            now = {name: _state(obj, ports[name], held, connection.silent(name)) for name, obj in bridges.items()}
            for name, (state, silence) in sorted(now.items()):
                if shown.get(name) != (state, silence):
                    local = ", ".join(map(str, sorted(ports[name].values()))) or "no port yet"
                    tell("bridge", f"{name} is {state}: {local}{silence}", bridge=name, state=state)
            for name in sorted(set(shown) - set(now)):
                tell("removed", f"{name} is gone", bridge=name)
            shown = now
        stop.wait(_PAUSE)


def _state(obj: Obj, ports: Mapping[int, int], held: frozenset[int], silent: list[int]) -> tuple[str, str]:
    """The state, and of what nobody listens on here. ports: of the relay -> of this machine. held: those of the relay that lead here."""
    wanted = {port for port, local in ports.items() if local not in silent}
    silence = f"; nothing listens on {' and '.join(map(str, silent))} here" if silent else ""
    return str(obj.get("state") or "REQUESTED") if held >= wanted else "not connected", silence

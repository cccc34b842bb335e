"""`bascule operate`: the operator, as the Deployment in overlays/base runs it."""

from __future__ import annotations

import click

from generator.cli import live, signals, view


@click.command
@click.option("--context", metavar="NAME", help="Of the kubeconfig; in a Pod its own account is taken.")
@click.option("--webhook-port", type=int, default=9443, show_default=True, help="Admission webhooks, TLS.")
@click.option("--port", type=int, default=8080, show_default=True, help="/healthz, /readyz and /metrics.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING"]), default="INFO", show_default=True)
@click.pass_context
def operate(ctx: click.Context, context: str | None, webhook_port: int, port: int, log_level: str) -> None:
    """Let the cluster follow its bridges and mounts, until it is stopped.

    Two or more replicas share the work of the webhook; one of them leads. Logs go to standard error, a JSON object a line.

    Exit code 0 when it was stopped; 2 if it cannot begin.
    """
    try:
        from generator.live import logs  # noqa: PLC0415  # only the operator needs its libraries
        from generator.live import operate as operator  # noqa: PLC0415
    except ImportError as error:
        view.fail(f"{error.name} is missing; install what the operator needs: pip install 'bascule[operator]'")
        ctx.exit(2)
    logs.begin(log_level)
    with signals.ends() as stop:
        operator.operate(live.account(context), stop, webhook=webhook_port, inside=port)

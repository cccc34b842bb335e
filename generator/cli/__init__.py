"""The command `bascule`: a table of commands, each loaded when it is called, and what happens when one of them fails.

stream.py   options that several commands have; files, standard input or a cluster -> objects; the clock
live.py     the account on a cluster, its errors, a line while it takes long
states.py   how far each target and bridge is, for `status` and `apply`
winner.py   who gets a request, for `explain` and `ui`
holding.py  a connection that a command holds, and what it tells of it
bridging.py a bridge that a command makes and holds; leaving.py takes it down
target.py   `--target`: what a user writes -> a workload and its container
wishes.py   what `bridge` and `apply` write, and whose end they wait for
waiting.py  looking again and again, with a deadline
view.py     colour, line width, problems on standard error
data.py     what `-o json` prints
folder.py   `--output-dir`: all files or none
mounted.py  a container's mounted files on this machine, to stay or while a program runs
the others  a command each: pure functions, and a few lines of glue at the end
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "Bascule", "main"]

COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "demo": ("demo", "demo", "See it work on a bundled example; no cluster is needed."),
    "bridge": ("bridge", "bridge", "Let the requests you choose come to your machine, until Ctrl-C."),
    "connect": ("connect", "connect", "Hold one connection for all your bridges."),
    "env": ("environment", "env", "Print a container's environment; write its mounted files."),
    "run": ("environment", "run", "Run a program here with a container's environment and files."),
    "check": ("check", "check", "Show what is wrong with the bridges, mounts and their targets."),
    "plan": ("plan", "plan", "Show the numbered steps to where nothing changes any more."),
    "diff": ("diff", "diff", "Show the changes of this moment, also as guarded patches."),
    "render": ("render", "render", "Print everything that should exist now."),
    "explain": ("explain", "explain", "Say which bridge gets a request, and why the others do not."),
    "graph": ("graph", "graph", "Draw the routes of a target."),
    "status": ("status", "status", "Show each target and bridge, how far it is, and what holds it up."),
    "ui": ("ui", "ui", "Serve a page with status and problems; it explains requests too."),
    "apply": ("apply", "apply", "Write bridges and mounts, and wait until they are ACTIVE."),
    "snapshot": ("snapshot", "snapshot", "Write what the other commands read of a cluster."),
    "clean": ("clean", "clean", "Show the steps that take all of bascule away, or what is left."),
    "operate": ("operate", "operate", "Let the cluster follow its bridges and mounts: the operator."),
    "completion": ("completion", "completion", "Print the completion script for a shell."),
}
"""Name -> module in this folder, function, one line of help. Nothing of it is imported before it is needed."""
_HIDDEN: Final = {"tunnel": ("tunnel", "tunnel", "")}
"""The same for those that no person calls."""

_INTERRUPTED, _NO_READER = 130, 141  # 128 + the number of SIGINT and SIGPIPE, as a shell says it


class Bascule(click.Group):
    """The group of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        if cmd_name not in COMMANDS and cmd_name not in _HIDDEN:
            return None
        module, function, _ = {**COMMANDS, **_HIDDEN}[cmd_name]
        command = getattr(importlib.import_module(f"{__name__}.{module}"), function)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first argument; one that is not there fails with the nearest that is."""
        if args[0] not in {**COMMANDS, **_HIDDEN} and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib  # noqa: PLC0415  # not for --help

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"There is no command {args[0]!r}." + (f" Did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table for `--help`, without importing what stands in it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The exit codes: they are a contract."""
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [
                    ("0", "done. diff: no differences. check: nothing refused. clean --check: nothing left"),
                    ("1", "differences, a refusal, something left, no end found, not in time: each command says which"),
                    ("2", "the input or the command line is wrong; nothing was written"),
                    ("130, 141", "interrupted; nobody reads the output"),
                ]
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names with their help, again without imports."""
        names = [CompletionItem(name, help=text) for name, (_, _, text) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **more: Any) -> Any:
        """Run it all; also `--help` may find no room for its output."""
        try:
            return super().main(*args, **more)
        except OSError as error:
            _unwritten(error)
            sys.exit(2)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Whatever goes wrong ends in an exit code and never in a traceback."""
        try:
            _utf8()
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            from generator.cli import signals  # noqa: PLC0415  # not for --help

            signals.newline()
            ctx.exit(_INTERRUPTED)
        except BrokenPipeError:
            _hush()
            ctx.exit(_NO_READER)
        except OSError as error:
            _unwritten(error)
            ctx.exit(2)
        except Exception as error:
            if os.environ.get("BASCULE_TRACEBACK") == "1":
                raise
            from generator.cli import view  # noqa: PLC0415  # not for --help
            from generator.errors import BasculeError, InputError  # noqa: PLC0415

            if isinstance(error, InputError):
                view.complain(error.problems)
            elif isinstance(error, BasculeError):
                view.fail(str(error))
            else:
                view.internal(error)
            ctx.exit(2)


def _utf8() -> None:
    """Both streams in UTF-8 with plain line ends, wherever this runs: the output is the same byte for byte."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


def _unwritten(error: OSError) -> None:
    _hush()
    with contextlib.suppress(OSError):  # standard error may be full too
        click.echo(f"error: the output cannot be written: {error.strerror or error}", err=True)


def _hush() -> None:
    """Let Python's last flush go nowhere (docs.python.org, library/signal, "Note on SIGPIPE")."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from importlib import metadata  # noqa: PLC0415  # takes longer than all of --help

    try:
        version = metadata.version("bascule")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"bascule {version}")
    ctx.exit()


def color_option(command: Any) -> Any:
    """`--color`, before or after the name of the command."""

    def apply(ctx: click.Context, _: click.Parameter, mode: str | None) -> None:
        if mode == "auto" or (mode is None and ctx.parent is None):
            ctx.color = False if os.environ.get("NO_COLOR") else None
        elif mode:
            ctx.color = mode == "always"

    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        expose_value=False,
        is_eager=True,
        callback=apply,
        help="auto: on a terminal, unless NO_COLOR is set.",
    )(command)


@click.group(cls=Bascule, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version.")
@color_option
def main() -> None:
    """Per-user bridges into a Kubernetes workload, rendered declaratively.

    All commands read a cluster, that of your kubeconfig, or with -f what was recorded of one. Only `bridge`, `connect`,
    `apply` and `operate` write to it.

    \b
      bascule bridge deployment/web --port 8080:3000 --header x-user=alice
      bascule check                                # what is wrong?
      bascule plan --live -f bridges.yaml          # what if I apply these?
      bascule snapshot > shop.yaml                 # and later, elsewhere:
      bascule plan -f shop.yaml -f bridges.yaml
    """

"""`bascule env` and `bascule run`: a process here with the environment and mounted files of a container."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click

from generator.asked.targets import template_of
from generator.cli import asking, color_option, folder, live, view
from generator.cli import mounted as files_here
from generator.cli.stream import space
from generator.cluster.selectors import matches
from generator.cluster.snapshot import Key, Obj, is_ours, labels_of
from generator.cluster.workload import is_serving
from generator.environment import Find, environment
from generator.errors import InputError, Problem
from generator.mounted import File, mounted
from generator.text import reading as text

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,-]+")


def dotenv(values: Mapping[str, str]) -> str:
    """NAME=VALUE a line, quoted as a POSIX shell reads it and as dotenv readers do; a value may have several lines."""
    return "".join(f"{name}={value if _PLAIN.fullmatch(value) else _quoted(value)}\n" for name, value in values.items())


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("-c", "--container", metavar="NAME", help="Which one, where there are several."),
        click.option("-n", "--namespace", metavar="NAME", callback=space, help="Of the workload; by default that of the context."),
        click.option("--context", metavar="NAME", help="Of the kubeconfig (KUBECONFIG, ~/.kube/config); its current one by default."),
        color_option,
    ):
        function = option(function)
    return function


@click.command
@click.argument("target")
@click.option("-o", "--output", type=click.Choice(["dotenv", "json"]), default="dotenv", show_default=True)
@click.option("--files", metavar="DIRECTORY", callback=folder.named, help="Write its mounted files there; new or empty.")
@_options
def env(target: str, container: str | None, namespace: str | None, context: str | None, output: str, files: Path | None) -> None:
    """Print the environment of a container, as kubelet makes it.

    TARGET is a workload, as in deployment/web. From its spec: env, envFrom, ConfigMaps and Secrets as far as your account may read
    them, what a Pod says of itself. What the image itself sets, and the variables of Services, are not known here. What could not be
    found out is said on standard error.

    With --files also what it has mounted from ConfigMaps, Secrets and the downward API: /etc/web is $BASCULE_ROOT/etc/web, and that
    variable is printed too. Other volumes stay in the cluster. Nobody but you can read these files.

    \b
      bascule env deployment/web > .env
      bascule env deployment/web -c app -o json
      bascule env deployment/web --files ./web-files > .env

    Exit code 0, also when something could not be read; 2 if there is no such container, or the folder cannot be written.
    """
    values, found = _read(target, container, namespace, context, files=files is not None)
    if files is not None:
        values |= {files_here.ROOT: str(files_here.keep(files, found))}
    view.show(dotenv(values) if output == "dotenv" else text.write_json(values))


class _BesideProgram(click.Command):
    """What stands after -- is the program, and its options are its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but that -- has to be there."""
        divided = "--" in args
        left = super().parse_args(ctx, args)
        if not divided and not ctx.resilient_parsing:
            ctx.fail("Write -- before the program, as in -- ./server --port 3000.")
        return left


@click.command(cls=_BesideProgram)
@click.argument("target")
@click.argument("program", nargs=-1, required=True, metavar="-- PROGRAM...")
@_options
def run(target: str, program: tuple[str, ...], container: str | None, namespace: str | None, context: str | None) -> None:
    """Run a program here with the environment of a container, as `bascule env` prints it, beside that of this machine.

    What the container has mounted from ConfigMaps, Secrets and the downward API is in a folder that only you can read, until the
    program ends: /etc/web is $BASCULE_ROOT/etc/web. Without such files there is no BASCULE_ROOT.

    \b
      bascule run deployment/web -- ./server --port 3000
      bascule run deployment/web -- sh -c './server "$BASCULE_ROOT/etc/web/conf"'

    Exit code: that of the program, 128 + N if signal N ended it; 2 if there is no such container or program.
    """
    values, files = _read(target, container, namespace, context, files=True)
    path = shutil.which(program[0])
    if path is None:
        raise InputError(
            Problem("OptionInvalid", "PROGRAM", f"{program[0]!r} is no program here", "Write it as in -- ./server --port 3000.")
        )
    start(path, program, values, files)


def start(path: str, program: tuple[str, ...], values: Mapping[str, str], files: Mapping[str, File]) -> None:
    """Run a program with these variables beside those of this machine: in place of this one, or beside its files. Raises InputError."""
    for name, value in values.items():
        if "\0" in value or "=" in name:
            cure = "A process cannot have it; leave it out of the container's env and envFrom."
            raise InputError(Problem("OptionInvalid", f"variable {name}", "its value has a NUL, or its name an =", cure))
    from generator.live import credentials  # noqa: PLC0415  # loaded already

    credentials.forget()  # what would be done at exit
    variables = {**os.environ, **values}
    try:
        if files:
            sys.exit(files_here.run(path, program, variables, files))
        os.execve(path, program, variables)  # noqa: S606  # that is what it is for
    except OSError as error:
        cure = "Give a program of this machine, or a script whose first line is as in #!/bin/sh."
        raise InputError(Problem("OptionInvalid", "PROGRAM", f"{path} cannot be run: {error.strerror}", cure)) from error


def _read(
    target: str, container: str | None, namespace: str | None, context: str | None, *, files: bool
) -> tuple[dict[str, str], dict[str, File]]:
    """The environment, and mounted files where they are asked for; what is missing is told. Raises InputError."""
    from generator.live.failures import Forbidden, NotFound  # noqa: PLC0415  # only when a cluster is read

    asking.target(target, namespace or "default")
    kube = live.account(context)
    ref = asking.target(target, namespace or kube.namespace)
    key = Key(ref.kind, ref.namespace, ref.name)
    with live.answers(kube, but=(NotFound, Forbidden)):
        try:
            obj = kube.get(key)
        except NotFound as error:
            cure = f"`kubectl get {ref.kind.lower()} -n {ref.namespace}` lists those there are."
            raise InputError(Problem("TargetUnknown", "TARGET", f"{key} is not in the cluster", cure)) from error
        except Forbidden as error:
            cure = f"Bind a Role in {ref.namespace} that lets the account get it."
            raise InputError(Problem("ClusterForbidden", str(key), str(error), cure)) from error
        try:
            pods = kube.list_objects("Pod", ref.namespace)[0]
        except Forbidden:
            pods = []
    pod = _pod(obj, pods)
    names = [c["name"] for c in pod["spec"]["containers"]]
    name = container or ref.container or (names[0] if len(names) == 1 else "")
    if name not in names:
        what = f"{key} has no container {name!r}" if name else f"{key} has {len(names)} containers and none is named"
        raise InputError(Problem("TargetUnknown", "--container", what, f"Give -c {names[0]}; there are {', '.join(names)}."))

    @cache
    def find(at: Key) -> Obj | str:
        try:
            with live.answers(kube, but=(NotFound, Forbidden)):
                return {"kind": at.kind, **kube.get(at)}
        except NotFound:
            return "it is not there"
        except Forbidden:
            return "the account may not read it"

    reader: Find = find
    values, missing = environment(pod, name, reader)
    found, left = mounted(pod, name, values, reader) if files else ({}, ())
    for each in (*missing, *left):
        view.note(f"left out: {each}")
    return values, found


def _pod(obj: Obj, pods: list[Obj]) -> Obj:
    """A Pod of the workload that serves, else what one would be."""
    if obj["kind"] == "Pod":
        return obj
    own = [p for p in pods if matches(obj["spec"].get("selector"), labels_of(p)) and not is_ours(p)]
    serving = next(filter(is_serving, own), None)
    template = template_of(obj)
    return serving or {**template, "metadata": {**(template.get("metadata") or {}), "namespace": obj["metadata"]["namespace"]}}

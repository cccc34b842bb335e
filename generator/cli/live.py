"""A cluster for the commands: the account, its errors as problems with a cure, and a line while it takes long.

What talks to the cluster (generator/live/) is imported when a cluster is read and not before: it takes as long as many a command.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from generator.cluster.times import seconds_between
from generator.errors import InputError, Problem
from generator.names import RECORDED

if TYPE_CHECKING:
    from generator.live.kube import Kube

_LATE: Final = 15
"""Seconds after its end for which a Lease still counts: clocks differ."""
_SERVER_FAILED: Final = 500
"""HTTP statuses from here on say nothing of what was asked (RFC 9110, section 15.6)."""
_DENIED: Final = " denied the request"
"""A webhook's refusal, whose status is what the webhook likes (apiserver pkg/admission/plugin/webhook/errors/statuserror.go)."""
_PATIENCE: Final = 1.0
"""Seconds after which a person wants to know what takes so long."""


class Leader(NamedTuple):
    """Who holds the Lease of the operator, and since how many seconds it was not renewed.

    holder: "" when nobody does, None when the account may not know.
    """

    holder: str | None
    seconds: float = 0.0

    @property
    def runs(self) -> str:
        """Whether an operator runs, as the status of a condition in Kubernetes: True, False or Unknown."""
        return "Unknown" if self.holder is None else str(bool(self.holder))

    @property
    def words(self) -> str:
        """For a person."""
        if self.holder is None:
            return "this account may not see whether an operator runs"
        return f"operator {self.holder}" if self.holder else "no operator runs"


def account(context: str | None, *, dry_run: bool = False) -> Kube:
    """The account of the kubeconfig or Pod. Raises InputError."""
    from generator.live.failures import KubeError, NoCredential  # noqa: PLC0415  # see above
    from generator.live.kube import connect  # noqa: PLC0415

    try:
        return connect(context, dry_run=dry_run)
    except NoCredential as error:
        raise InputError(error.problem) from error
    except KubeError as error:
        asked = click.get_current_context()
        reads = any(parameter.name == "filename" for parameter in asked.command.params)
        files = f"; to read files instead: kubectl get -n shop -o yaml {RECORDED} | bascule {asked.info_name} -f - -f bridges.yaml"
        cure = f"Set KUBECONFIG to a kubeconfig file, or give --context{files if reads else '.'}"
        raise InputError(Problem("ClusterUnreachable", "the cluster", str(error), cure)) from error


@contextmanager
def answers(kube: Kube, but: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Turn no login, no answer, one that says that the server fails, and one that the account may not, into an InputError.

    but: errors that go through as they are.
    """
    from generator.live.failures import Forbidden, NoCredential, Refused, Throttled, Unreachable  # noqa: PLC0415  # see above

    try:
        yield
    except but:
        raise
    except NoCredential as error:
        raise InputError(error.problem) from error
    except Unreachable as error:
        cure = "Check the address, the network and the certificates: `kubectl version` asks the same server."
        raise InputError(Problem("ClusterUnreachable", kube.server, _innermost(error), cure)) from error
    except (Refused, Throttled) as error:
        if (error.status < _SERVER_FAILED or _DENIED in str(error)) and not isinstance(error, Throttled):
            raise
        failed = "Try again; what the API server, or a webhook that it asks, says of itself is in their logs."
        busy = f"Try again in {max(error.retry_after, 1):.0f} s: it is asked more than it can answer."
        cure = busy if isinstance(error, Throttled) else failed
        raise InputError(Problem("ClusterUnreachable", kube.server, str(error), cure)) from error
    except Forbidden as error:
        cure = "Log in again, or check the user of the context." if error.status == 401 else "Bind a Role that allows it to the account."
        raise InputError(Problem("ClusterForbidden", kube.server, str(error), cure)) from error


def _innermost(error: BaseException) -> str:
    """What began it: urllib3 and requests wrap `Connection refused` into three layers."""
    while below := error.__cause__ or (None if error.__suppress_context__ else error.__context__):
        error = below
    return re.sub(r"^\[\w+: \w+\] | \(_ssl\.c:[0-9]+\)$", "", str(getattr(error, "strerror", None) or error))


def leader(kube: Kube, now: str) -> Leader:
    """Who leads. Raises InputError (ClusterUnreachable)."""
    from generator.live.failures import Forbidden, NotFound  # noqa: PLC0415  # see above
    from generator.live.lease import DURATION, LEASE  # noqa: PLC0415

    try:
        with answers(kube, but=(NotFound, Forbidden)):
            spec = kube.get(LEASE).get("spec") or {}
    except NotFound:
        return Leader("")
    except Forbidden:
        return Leader(None)
    age = seconds_between(spec.get("renewTime") or "", now)
    lasts = (spec.get("leaseDurationSeconds") or DURATION) + _LATE
    return Leader(spec["holderIdentity"], max(age, 0)) if spec.get("holderIdentity") and age < lasts else Leader("")


@contextmanager
def patience(what: str) -> Iterator[Callable[[int, int], None]]:
    """On a terminal: after a second a line that says what takes so long and how far it is; gone at the end."""
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    late = threading.Event()
    lock = threading.Lock()

    def write(tail: str) -> None:
        with lock:
            sys.stderr.write(f"\r{what}{tail}\x1b[K")
            sys.stderr.flush()

    def begin() -> None:
        late.set()
        write(" ...")

    timer = threading.Timer(_PATIENCE, begin)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done, of: write(f": {done} of {of}") if late.is_set() else None
    finally:
        timer.cancel()
        timer.join()
        if late.is_set():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

"""What an API server answers when it does not do what it was asked for, as one class for each way to go on.

    KubeError
    +-- NotFound      404: it is not there
    +-- Conflict      409: it is there already, or another writer was faster; read again
    +-- Gone          410: the resourceVersion is too old to watch from; list again
    +-- Invalid       400, 422: the object is not valid, or a `test` of a patch failed; read again, then report
    +-- Forbidden     401, 403: the account may not
    +-- Throttled     429: wait `retry_after` seconds
    +-- Refused       a webhook or policy said no, or the server failed: its message is for the user
    +-- Unreachable   no answer in time, 502 to 504: try again later
    +-- NoCredential  nothing was asked: the account's plugin or file gives no token

Source: k8s.io/apimachinery pkg/api/errors, and "HTTP status codes" of the Kubernetes API conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.errors import BasculeError, Problem


class KubeError(BasculeError):
    """The base. status: the HTTP status, 0 when there was none. causes: `field: message` of each cause."""

    def __init__(self, message: str, status: int = 0, causes: tuple[str, ...] = (), retry_after: float = 0) -> None:
        super().__init__(message)
        self.status, self.causes, self.retry_after = status, causes, retry_after


class NotFound(KubeError):
    """404."""


class Conflict(KubeError):
    """409."""


class Gone(KubeError):
    """410."""


class Invalid(KubeError):
    """400 or 422."""


class Forbidden(KubeError):
    """401 or 403."""


class Throttled(KubeError):
    """429, with the seconds to wait in `retry_after`."""


class Refused(KubeError):
    """500 and whatever has no class of its own."""


class Unreachable(KubeError):
    """No answer."""


class Cut(Unreachable):
    """An answer that ended before its time."""


class NoCredential(KubeError):
    """What the account logs in with cannot be had. problem: why, and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.place}: {problem.message}")
        self.problem = problem


_BY_STATUS = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Throttled,
    502: Unreachable,
    503: Unreachable,
    504: Unreachable,
}


def failure(status: int, body: Mapping[str, Any], headers: Mapping[str, str], what: str) -> KubeError:
    """The error for an answer. body: its Status object (meta/v1), or nothing. what: the request, for a message without one."""
    found = body.get("details")
    details = found if isinstance(found, dict) else {}
    listed, seconds = details.get("causes"), details.get("retryAfterSeconds")
    each = [c for c in listed if isinstance(c, dict)] if isinstance(listed, list) else []
    causes = tuple(f"{c.get('field', '')}: {c.get('message', '')}" for c in each)
    asked = headers.get("Retry-After", "")
    wait = float(asked) if asked.isdecimal() else float(seconds if isinstance(seconds, int) and seconds > 0 else 1)
    message = str(body.get("message") or "") or f"{what}: the API server answered {status}"
    return _BY_STATUS.get(status, Refused)(message, status, causes, wait)

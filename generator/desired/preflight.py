"""A workload and what is asked of it -> everything Kubernetes or the target cannot bear, before a Pod is touched.

Each check is one small function over the facts; the register in `codes.py` says what is refused and what only warned of.
Checks look at the Pods as they were before us, so that what we did ourselves is never held against the target.
"""

from __future__ import annotations

from generator.desired import cluster_checks, pod_checks
from generator.desired.case import Case
from generator.errors import Problem


def preflight(case: Case) -> tuple[Problem, ...]:
    """Every problem, sorted."""
    return tuple(sorted({p for check in CHECKS for p in check(case)}))


CHECKS = (
    pod_checks.rollout,
    pod_checks.node,
    pod_checks.commands,
    pod_checks.volumes,
    cluster_checks.autoscaler,
    cluster_checks.budgets,
    cluster_checks.quota,
    cluster_checks.services,
    cluster_checks.names,
    cluster_checks.policy,
    cluster_checks.orphans,
    pod_checks.apart,
    cluster_checks.exposure,
    cluster_checks.nobody,
    pod_checks.marks,
)

"""Which selectors of a namespace pick a set of labels, and the fewest labels to drop so that none does.

Semantics: metav1.LabelSelector (apimachinery, `LabelSelectorAsSelector`) for workloads, budgets and NetworkPolicies; plain
equality maps for Services.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Any

Labels = dict[str, str]


def matches(selector: dict[str, Any] | None, labels: Labels) -> bool:
    """Whether a LabelSelector picks `labels`. None picks nothing, an empty one everything, an unknown operator nothing."""
    if selector is None:
        return False
    return all(labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items()) and all(
        _holds(e.get("operator"), e.get("values") or (), labels.get(e.get("key"))) for e in selector.get("matchExpressions") or ()
    )


def _holds(operator: str | None, values: Collection[str | None], value: str | None) -> bool:
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return False


def service_matches(selector: Labels | None, labels: Labels) -> bool:
    """Whether a Service's `spec.selector` picks `labels`. None and an empty one pick nothing."""
    return bool(selector) and matches({"matchLabels": selector}, labels)


def service_selector(selector: Labels | None) -> dict[str, Any] | None:
    """A Service's `spec.selector` as the LabelSelector that picks the same."""
    return {"matchLabels": selector} if selector else None


def _wanted(selector: dict[str, Any]) -> dict[str, tuple[str, ...] | None]:
    """Keys that labels must have to be picked -> the values they may have (None: any)."""
    wanted: dict[str, tuple[str, ...] | None] = {}
    for e in selector.get("matchExpressions") or ():
        if e.get("operator") == "Exists":
            wanted.setdefault(str(e.get("key")), None)
        elif e.get("operator") == "In":
            wanted[str(e.get("key"))] = tuple(e.get("values") or ())
    return wanted | {k: (v,) for k, v in (selector.get("matchLabels") or {}).items()}


class Index:
    """The selectors of one namespace, to be asked often: a query costs as much as the selectors that share a label with it.

    Each selector stands under the one label it needs that the fewest others need; those that need none are asked every time.
    """

    __slots__ = ("_buckets", "_entries", "_rest")

    def __init__(self, selectors: Iterable[tuple[dict[str, Any], dict[str, Any] | None]]) -> None:
        """selectors: pairs of the object that owns a selector and the LabelSelector; None is left out."""
        entries = [(owner, selector) for owner, selector in selectors if selector is not None]
        self._entries = sorted(entries, key=lambda e: (e[0].get("kind", ""), e[0]["metadata"]["name"]))
        wanted = [[(k, values) for k, values in _wanted(s).items() if values is not None] for _, s in self._entries]
        uses = Counter((k, v) for pairs in wanted for k, values in pairs for v in values)
        self._buckets: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._rest: list[int] = []
        for n, pairs in enumerate(wanted):
            if pairs:
                key, values = min(pairs, key=lambda p: (sum(uses[p[0], v] for v in p[1]), p[0]))
                for value in sorted(set(values)):
                    self._buckets[key, value].append(n)
            else:
                self._rest.append(n)

    def entries(self, labels: Labels) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """(owner, selector) of each selector that picks `labels`, sorted by the owner's kind and name."""
        near = [n for pair in labels.items() for n in self._buckets.get(pair, ())]
        return [self._entries[n] for n in sorted(near + self._rest) if matches(self._entries[n][1], labels)]

    def matching(self, labels: Labels) -> list[dict[str, Any]]:
        """The owners of the selectors that pick `labels`, sorted by kind and name."""
        return [owner for owner, _ in self.entries(labels)]


def quiet_labels(labels: Labels, index: Index, keeps: Callable[[Labels], int] = lambda _: 0, fixed: Labels | None = None) -> Labels | None:
    """`labels` without the fewest keys such that no selector of `index` picks the rest; None if no removal helps.

    fixed: labels that are there in any case and are not in the result.
    keeps: of several ways of the same size, the one for which this is greatest is taken, then the first in order of its keys.

    A selector that picks labels stops picking them only when a key it needs goes (dropping a key never breaks NotIn or
    DoesNotExist, it can only fulfil them). So each removal that works holds, for any selector still picking, one of its
    keys: following all of them, one key a step, meets every smallest removal and nothing else.
    """
    removals: set[frozenset[str]] = {frozenset()}
    while removals:
        following: set[frozenset[str]] = set()
        quiet: list[tuple[int, list[str], Labels]] = []
        for removed in removals:
            rest = {k: v for k, v in labels.items() if k not in removed}
            picking = index.entries({**rest, **(fixed or {})})
            if not picking:
                quiet.append((-keeps(rest), sorted(removed), rest))
            elif ways := min(([key for key in sorted(_wanted(s)) if key in rest] for _, s in picking), key=len):
                following.update(removed | {key} for key in ways)
        if quiet:
            return min(quiet, key=lambda q: q[:2])[2]
        removals = following
    return None


def joined_labels(quiet: Labels, labels: Labels, service_selectors: Iterable[Labels]) -> Labels:
    """`quiet` with exactly those pairs of `labels` that the Services selecting `labels` need to select the result."""
    needed = {k: v for s in service_selectors if service_matches(s, labels) for k, v in s.items()}
    return {**quiet, **needed}

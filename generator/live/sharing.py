"""An object with the parts of another where they are equal: Pods of one owner are alike but for their names, a Pod is before and after.

Nobody changes an object, so a part may belong to several. That saves three quarters of what 2,100 Pods and 1,000 bridges take.
"""

from __future__ import annotations

from itertools import zip_longest
from operator import is_
from typing import Any


def shared(new: Any, old: Any) -> Any:
    """`new`, as JSON has it: written out it is the same text, but each part that `old` has at the same place is that of `old`."""
    if new is old or type(new) is not type(old):  # 1 == True == 1.0
        return new
    if isinstance(new, dict):
        fields = {key: shared(value, old.get(key)) for key, value in new.items()}
        return old if list(fields) == list(old) and all(map(is_, fields.values(), old.values())) else fields
    if isinstance(new, list):
        items = [shared(item, other) for item, other in zip_longest(new, old[: len(new)])]
        return old if len(items) == len(old) and all(map(is_, items, old)) else items
    return old if new == old else new

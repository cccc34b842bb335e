"""Text of others -> text that a terminal only shows: nothing in it colours, erases, overwrites or turns text around."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    r"""The text, with what is not printable (`str.isprintable`: Unicode's categories Other and Separator) as Python spells it: `\x1b`.

    keep: characters that stay as they are.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)

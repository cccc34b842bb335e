"""Text and attributes -> HTML. Only what `element` and `text` made is taken for markup: everything else is escaped."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, /, *content: str, **attributes: str | bool) -> Html:
    """An element. Content and attributes that are not Html are escaped; `_` in the name of an attribute is `-`."""
    given = ((key.strip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not False)
    words = "".join(f" {key}" if value is True else f' {key}="{text(str(value))}"' for key, value in given)
    inner = "".join(part if isinstance(part, Html) else text(part) for part in content)
    return Html(f"<{tag}{words}>" if tag in ("input", "link", "meta") else f"<{tag}{words}>{inner}</{tag}>")


def text(words: str) -> Html:
    """Escaped. What is not printable becomes U+FFFD: controls that a document may not hold, and those that turn text around (U+202E)."""
    return Html(escape("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in words)))

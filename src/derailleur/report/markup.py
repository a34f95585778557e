"""HTML that cannot be injected into: every string is escaped unless it is already `Html`."""

import html
from collections.abc import Iterable
from typing import TypeAlias


class Html(str):
    """Text that is markup already. Made by `element`, by `join`, and of our own SVG and CSS only."""

    __slots__ = ()


Content: TypeAlias = "str | int | Html | Iterable[Content] | None"
"""What an element may hold; None is nothing, an iterable is its items one after the other."""

_VOID = frozenset({"meta", "br", "hr"})


def join(*content: Content) -> Html:
    """Escape what is plain text and put everything one after the other."""
    return Html("".join(_render(part) for part in content))


def element(name: str, /, *content: Content, **attributes: str | int | None) -> Html:
    """One element; `class_="x"` writes `class="x"`, and an attribute that is None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*content)}</{name}>")


def _render(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int):
        return html.escape(str(content), quote=True)
    return "".join(_render(part) for part in content)

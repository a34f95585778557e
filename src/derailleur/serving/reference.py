"""The page at /docs: the interface's description as HTML that loads nothing."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { font: 600 1.1rem ui-monospace, monospace; margin: 2rem 0 .25rem }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #8884; padding: .25rem .5rem }
td { vertical-align: top } code { font: .9em ui-monospace, monospace } :root { color-scheme: light dark }
"""


def reference_page(described: Mapping[str, Any]) -> str:
    """Every route with the fields of its body.

    Args:
        described: an OpenAPI document.
    """
    title = f"{described['info']['title']} {described['info']['version']}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        "<p>The same for machines: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2>{method.upper()} {escape(path)}</h2>")
            parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
            parts.extend(_fields(operation, described["components"]["schemas"]))
    return "\n".join(parts)


def _fields(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    body = operation.get("requestBody")
    if body is None:
        return
    schema = schemas[_name(body["content"]["application/json"]["schema"])]
    required = schema.get("required", [])
    yield "<table>"
    for name, field in schema["properties"].items():
        default = "required" if name in required else _spelled(field.get("default"))
        cells = (f"<code>{escape(name)}</code>", f"<code>{escape(_kind(field))}</code>", escape(default))
        yield f"<tr><td>{'<td>'.join(cells)}<td>{escape(field.get('description', ''))}"
    yield "</table>"


def _kind(field: Mapping[str, Any]) -> str:
    """A field's type in a word or two."""
    if "anyOf" in field:
        kinds = [_kind(part) for part in field["anyOf"]]
        return " | ".join(kind for kind in dict.fromkeys(kinds) if kind != "null")
    if "$ref" in field:
        return _name(field)
    if field.get("type") == "array":
        return f"[{_kind(field['items'])}]"
    return str(field.get("type", field.get("const", "any")))


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"].rpartition("/")[2])


def _spelled(default: Any) -> str:
    return "" if default in (None, "", [], {}) else str(default).lower()

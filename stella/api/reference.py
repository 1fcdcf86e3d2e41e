"""The API reference for people, printed from the OpenAPI document: `docs/api/reference.md`."""

from collections.abc import Mapping
from typing import Any

_INTRODUCTION = """# API reference

Generated from the API's own schemas; `GET /openapi.json` gives the same in OpenAPI 3.1, with every key.
Requests and answers are JSON. Errors are `{"errors": [{code, status, title, detail, request_id, field}]}`; a code never changes its
meaning. Lists take `limit` and `marker` and link to the next page.

| operation | what it does | who |
|---|---|---|
"""


def _access(operation: Mapping[str, Any]) -> str:
    if not operation["security"]:
        return "anyone, without authentication"
    if "host" in operation["security"][0]:
        return "the host's agent"
    return ", ".join(f"`{rule}`" for rule in operation.get("x-stella-policies", ()))


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    kind = schema.get("type", "object")
    return kind if isinstance(kind, str) else " or ".join(kind)


def _rows(schema: Mapping[str, Any]) -> list[str]:
    """A table of the keys of an object, the first level."""
    if "oneOf" in schema:
        return _rows(schema["oneOf"][0])
    if not schema.get("properties"):
        return []
    required = schema.get("required", ())
    rows = ["", "| key | type | |", "|---|---|---|"]
    for name, value in schema["properties"].items():
        text = " ".join(part for part in (value.get("title"), value.get("description")) if part)
        rows.append(f"| `{name}`{'' if name in required else ' (optional)'} | {_type(value)} | {text} |")
    return rows


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> list[str]:
    lines = [f"## {method.upper()} {path}", "", operation["summary"], "", operation["description"], ""]
    lines.append(f"Who: {_access(operation)}.")
    query = [p for p in operation["parameters"] if p.get("in") == "query"]
    if query:
        lines += ["", "| parameter | type | |", "|---|---|---|"]
        lines += [
            f"| `{p['name']}` | {_type(p['schema'])} | "
            f"{' '.join(t for t in (p['schema'].get('title'), p['schema'].get('description')) if t)} |"
            for p in query
        ]
    if "requestBody" in operation:
        lines += ["", "Request:", *_rows(operation["requestBody"]["content"]["application/json"]["schema"])]
    for status, response in operation["responses"].items():
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            lines += ["", f"{status}: {response['description']}"]
        else:
            lines += ["", f"{status} {response['description']}:" if schema else f"{status} {response['description']}."]
            lines += _rows(schema)
    return [*lines, ""]


def print_markdown(document: Mapping[str, Any]) -> str:
    """The page."""
    table, details = [], []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            table.append(f"| `{method.upper()} {path}` | {operation['summary']} | {_access(operation)} |\n")
            details += _operation(method, path, operation)
    return _INTRODUCTION + "".join(table) + "\n" + "\n".join(details)

"""Requests and responses against their JSON Schemas.

Each value is validated by jsonschema-rs, which is compiled, in tens of microseconds; what it refuses is explained by jsonschema, which
names the field and the keyword in a stable way (`docs/decisions/0035`).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jsonschema_rs
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from stella.api.errors import ApiError
from stella.model.wire import Json

Schema = Mapping[str, Any]
_LARGEST_MESSAGE = 200


_READY: dict[int, tuple[Schema, jsonschema_rs.Draft202012Validator]] = {}
"""Schemas made ready once, by identity: they are module constants. Each is held, so that its id is not given to another."""


def _compiled(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    found = _READY.get(id(schema))
    if found is None:
        found = _READY[id(schema)] = (schema, jsonschema_rs.Draft202012Validator(dict(schema)))
    return found[1]


def field_name(path: Sequence[str | int]) -> str:
    """``objectives.cpu.floor`` or ``minutes[3].metric``."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name


def first_error(schema: Schema, value: Json) -> tuple[str, str] | None:
    """The field and the message of what is most wrong with ``value``; None when nothing is."""
    try:
        if _compiled(schema).is_valid(value):
            return None
    except UnicodeEncodeError:
        return "", "holds text with half a surrogate pair, which is not Unicode"
    error = best_match(Draft202012Validator(dict(schema)).iter_errors(value))
    if error is None:  # the two differ where Python's "$" also matches before a newline at the end
        refused = next(_compiled(schema).iter_errors(value))
        return field_name(list(refused.instance_path)), f"is not valid: {_short(refused.message)}"
    return field_name(list(error.absolute_path)), _message(error)


def _message(error: ValidationError) -> str:
    keyword, limit = error.validator, error.validator_value
    match keyword:
        case "type":
            kinds = [limit] if isinstance(limit, str) else list(cast(Sequence[str], limit))
            return f"must be {' or '.join(kinds)}"
        case "enum":
            return f"must be one of {', '.join(str(v) for v in cast(Sequence[object], limit))}"
        case "additionalProperties" | "propertyNames":
            return f"has a key that is not known: {_short(error.message)}"
        case "required":
            return _short(error.message).replace("property", "key")
        case "pattern" | "format":
            return f"must match {limit}"
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            word = {
                "minimum": "at least",
                "exclusiveMinimum": "more than",
                "maximum": "at most",
                "exclusiveMaximum": "less than",
            }[str(keyword)]
            return f"must be {word} {limit}"
        case "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties" | "minProperties":
            return f"breaks {keyword} {limit}"
    return _short(error.message)


def _short(text: str) -> str:
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= _LARGEST_MESSAGE else line[: _LARGEST_MESSAGE - 1] + "…"


def check(schema: Schema, value: Json, what: str) -> None:
    """Raises `ApiError` (400) that names the field when ``value`` does not match. ``what``: ``body`` or ``query``."""
    found = first_error(schema, value)
    if found is not None:
        field, message = found
        name = field or what
        raise ApiError("stella.request.invalid", f"{name} {message}.", field=name)


def read_query(schema: Schema, given: Mapping[str, str | list[str]]) -> dict[str, Json]:
    """Query parameters as the types that the schema names. Raises `ApiError` (400): also for a name given twice."""
    properties = cast(Mapping[str, Mapping[str, Any]], schema.get("properties", {}))
    values: dict[str, Json] = {}
    for name, text in given.items():
        if isinstance(text, list):
            raise ApiError("stella.request.invalid", f"{name} is given more than once.", field=name)
        values[name] = _typed(text, str(properties.get(name, {}).get("type", "string")))
    check(schema, values, "query")
    return values


def _typed(text: str, kind: str) -> Json:
    """The text as a value of this JSON type; the text itself where it is none, which the schema then refuses."""
    if kind == "boolean":
        return {"true": True, "1": True, "": True, "false": False, "0": False}.get(text.lower(), text)
    if kind == "integer":
        try:
            return int(text) if len(text) <= 20 else text
        except ValueError:
            return text
    return text


@functools.cache
def empty_query() -> Schema:
    """For operations that take no parameters: any is refused."""
    return {"type": "object", "properties": {}, "additionalProperties": False}

"""Requests and responses against their JSON Schemas."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match

from stella.api.errors import ApiError
from stella.model.wire import Json

Schema = Mapping[str, Any]
_LARGEST_MESSAGE = 200


def _matches(validator: Any, pattern: str, instance: object, schema: Schema) -> Iterator[ValidationError]:
    """``pattern`` as JSON Schema has it: Python's ``$`` would also match before a line feed at the end."""
    if validator.is_type(instance, "string") and not _compiled(pattern).search(cast(str, instance)):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern, re.ASCII)


_Validator = validators.extend(Draft202012Validator, {"pattern": _matches})  # type: ignore[no-untyped-call]  # no types there
_READY: dict[int, tuple[Schema, Any]] = {}
"""Schemas made ready once, by identity: they are module constants. Each is held, so that its id is not given to another."""


def _validator(schema: Schema) -> Any:
    found = _READY.get(id(schema))
    if found is None:
        found = _READY[id(schema)] = (schema, _Validator(dict(schema)))
    return found[1]


def field_name(path: Sequence[str | int]) -> str:
    """``objectives.cpu.floor`` or ``minutes[3].metric``."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name


def first_error(schema: Schema, value: Json) -> tuple[str, str] | None:
    """The field and the message of what is most wrong with ``value``; None when nothing is."""
    error = best_match(_validator(schema).iter_errors(value))
    if error is None:
        return None
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

"""The model's values to plain JSON values and back, by the fields and type hints of their dataclasses.

What is written by one release is read by the one before and the one after: unknown keys are ignored, missing ones take the
field's default (None where the type allows it and there is no default). Floats come back exactly; what is not a finite
number is refused both ways. Only types that the model uses are known: dataclasses, enums, str, int, float, bool, None,
tuples, lists, mappings with text keys and unions of them with None.
"""

import dataclasses
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeAlias, TypeVar, cast

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

T = TypeVar("T")


class InvalidWire(ValueError):
    """A value cannot be written, or what was read is not of the type asked for; ``field`` is its path, such as ``host.cores``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


def encode(value: object) -> Json:
    """The JSON value of ``value``. Raises `InvalidWire` for what is not finite or has no JSON form."""
    return _encode(value, "")


def _encode(value: object, path: str) -> Json:
    if isinstance(value, enum.Enum):
        return cast(Json, value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidWire(path, "is not a finite number")
        return value
    if isinstance(value, tuple | list):
        return [_encode(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(key, path): _encode(item, _below(path, str(key))) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _encode(getattr(value, name), _below(path, name)) for name in _field_names(type(value))}
    raise InvalidWire(path, f"a {type(value).__name__} has no JSON form")


def _key(key: object, path: str) -> str:
    if isinstance(key, enum.Enum):
        key = key.value
    if not isinstance(key, str):
        raise InvalidWire(path, "keys must be text")
    return key


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


def decode(kind: type[T], data: object) -> T:
    """Read a value of type ``kind`` from the JSON value ``data``. Raises `InvalidWire` that names the field."""
    return cast(T, _decode(kind, data, ""))


def _decode(kind: Any, data: object, path: str) -> object:
    origin = typing.get_origin(kind)
    if kind is Any or kind is object:
        return data
    if origin in (typing.Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data, path)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), data, path)
    if origin is list:
        (item,) = typing.get_args(kind)
        return [_decode(item, entry, f"{path}[{i}]") for i, entry in enumerate(_expect(list, data, path))]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key_kind, item = typing.get_args(kind)
        entries = _expect(dict, data, path)
        return {_decode(key_kind, k, path): _decode(item, v, _below(path, k)) for k, v in entries.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            raise InvalidWire(path, f"must be one of {', '.join(str(m.value) for m in kind)}") from None
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(cast(type, kind), data, path)
    return _decode_scalar(kind, data, path)


def _expect(kind: type[T], data: object, path: str) -> T:
    if not isinstance(data, kind):
        raise InvalidWire(path, f"must be a {'list' if kind is list else 'mapping'}")
    return data


def _decode_scalar(kind: Any, data: object, path: str) -> object:
    if kind is type(None) and data is None:
        return None
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        try:
            number = float(data)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InvalidWire(path, "is not a finite number")
        return number
    if kind in (str, bool) and isinstance(data, kind):
        return data
    if kind is int and isinstance(data, int) and not isinstance(data, bool):
        return data
    raise InvalidWire(path, f"must be {getattr(kind, '__name__', kind)}")


def _decode_union(kinds: tuple[Any, ...], data: object, path: str) -> object:
    if data is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    for kind in others[:-1]:
        try:
            return _decode(kind, data, path)
        except InvalidWire:
            continue
    return _decode(others[-1], data, path)


def _decode_tuple(kinds: tuple[Any, ...], data: object, path: str) -> tuple[object, ...]:
    entries = _expect(list, data, path)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(entries)
    if len(kinds) != len(entries):
        raise InvalidWire(path, f"must have {len(kinds)} entries")
    return tuple(_decode(k, entry, f"{path}[{i}]") for i, (k, entry) in enumerate(zip(kinds, entries, strict=True)))


@functools.cache
def _plan(kind: type) -> tuple[tuple[str, Any, bool, bool], ...]:
    """For each field: name, type, whether it has a default, whether it may be None."""
    hints = typing.get_type_hints(kind)
    return tuple(
        (
            f.name,
            hints[f.name],
            f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING,
            type(None) in typing.get_args(hints[f.name]),
        )
        for f in dataclasses.fields(kind)
        if f.init
    )


def _decode_dataclass(kind: type, data: object, path: str) -> object:
    entries = _expect(dict, data, path)
    values: dict[str, object] = {}
    for name, hint, has_default, may_be_none in _plan(kind):
        if name in entries:
            values[name] = _decode(hint, entries[name], _below(path, name))
        elif not has_default:
            if not may_be_none:
                raise InvalidWire(_below(path, name), "is missing")
            values[name] = None
    return kind(**values)


def dumps(value: object) -> str:
    """One line of JSON for ``value``, sorted by key: equal values give equal text."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _refuse(text: str) -> float:
    raise InvalidWire("", f"{text} is not a number")


def parse(text: str | bytes) -> Json:
    """JSON text to a JSON value; NaN and infinities are refused. Raises `InvalidWire`."""
    try:
        return cast(Json, json.loads(text, parse_constant=_refuse))
    except (RecursionError, UnicodeDecodeError):
        raise InvalidWire("", "is not JSON: nested too deeply or not UTF-8") from None
    except InvalidWire:
        raise
    except ValueError as error:
        raise InvalidWire("", f"is not JSON: {error}") from None


def loads(kind: type[T], text: str | bytes) -> T:
    """Read a value of type ``kind`` from JSON text. Raises `InvalidWire`."""
    return decode(kind, parse(text))

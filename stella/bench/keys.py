"""Scenario documents checked against `scenario.schema.yaml`, so that every mistake is one line that names the key's path."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from stella.model import units

_SCHEMA: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("scenario.schema.yaml").read_text(encoding="utf-8"))
LOAD_KEYS: Mapping[str, frozenset[str]] = {
    one["if"]["properties"]["kind"]["const"]: frozenset(one["then"]["properties"]) - {"kind"}
    for one in _SCHEMA["$defs"]["load"]["allOf"]
}
"""The keys that a load of each kind takes."""


class InvalidScenario(ValueError):
    """A scenario cannot be: ``key`` is the path of the offending key, ``problem`` one line for a person."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key, self.problem = key, problem


class UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error and not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build one mapping. Raises `yaml.YAMLError` for a key given twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(getattr(key, "value", ""))
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {name!r} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def quantity(value: object, unit: str, *, zero: bool = False) -> float:
    """A human quantity in ``unit``, above zero, or zero too. Raises `units.InvalidQuantity`."""
    if zero and value in (0, "0", "0s") and not isinstance(value, bool):
        return 0.0
    if not isinstance(value, str | int | float):
        raise units.InvalidQuantity(f"must be a quantity in {unit}, such as {units.EXAMPLES[unit]}")
    return units.parse(value, unit)


def _quantity(validator: Any, rules: Mapping[str, Any], value: object, schema: object) -> Iterator[ValidationError]:
    """The keyword ``quantity``: null is for the reader to judge."""
    if value is not None:
        try:
            number = quantity(value, rules["unit"], zero=rules.get("zero", False))
        except units.InvalidQuantity as error:
            yield ValidationError(str(error))
        else:
            yield from validator.descend(number, rules)


_Validator: Any = extend(Draft202012Validator, {"quantity": _quantity})  # type: ignore[no-untyped-call]


def join(path: Sequence[str | int]) -> str:
    """A path as people write it: ``instances[0].name``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def validate(tree: object, *, where: str = "", definition: str = "") -> None:
    """Raise `InvalidScenario` for the first mistake in a scenario, or in a part of one below ``where`` that a definition describes."""
    schema = {"$ref": f"#/$defs/{definition}", "$defs": _SCHEMA["$defs"]} if definition else _SCHEMA
    error = next(_Validator(schema).iter_errors(tree), None)
    if error is not None:
        missing, problem = _problem(error)
        path = join((*([where] if where else []), *error.absolute_path, *missing))
        raise InvalidScenario(path or "scenario", problem)


def _problem(error: ValidationError) -> tuple[list[str], str]:
    """The key below the place of the error that it is about, if any, and what is wrong."""
    found: Any = error.instance
    rules: Any = error.schema
    match error.validator:
        case "additionalProperties":
            known = rules.get("properties", {})
            return [str(next(key for key in found if key not in known))], f"unknown key (there are: {', '.join(known)})"
        case "required":
            return [next(key for key in rules["required"] if key not in found)], "is missing"
        case "enum":
            return [], f"{str(found)[:60]!r} is not one of {', '.join(rules['enum'])}"
        case "quantity" if "description" not in rules:
            return [], error.message
    return [], f"must be {rules['description']}" if "description" in rules else error.message

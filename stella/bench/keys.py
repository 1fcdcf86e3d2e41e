"""Reading a document key by key, so that every mistake is one line that names the key's path."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from stella.model import units


class InvalidScenario(ValueError):
    """A scenario cannot be: ``key`` is the path of the offending key, the message is one line for a person."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key, self.problem = key, message


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


class Keys:
    """The keys of one mapping at ``where`` (empty at the top). Each reader raises `InvalidScenario` that names the path.

    ``known`` lists the keys there may be; None does not check.
    """

    def __init__(self, where: str, tree: object, known: set[str] | None) -> None:
        self._where = where
        if not isinstance(tree, Mapping):
            raise InvalidScenario(where or "scenario", "must be a mapping")
        if known is not None:
            for key in tree:
                if key not in known:
                    raise InvalidScenario(self.path(str(key)), f"unknown key (there are: {', '.join(sorted(known))})")
        self._tree = tree

    def path(self, key: str) -> str:
        """The path of one of the keys."""
        return f"{self._where}.{key}".strip(".")

    def has(self, key: str) -> bool:
        """Whether the key is given, be it null."""
        return key in self._tree

    def get(self, key: str) -> object:
        """What stands under the key; None when it is absent."""
        return self._tree.get(key)

    def sequence(self, key: str, *, required: bool = False) -> list[object]:
        """A list; empty when absent and not required."""
        value = self._tree.get(key)
        if value is None and not required:
            return []
        if not isinstance(value, list) or (required and not value):
            raise InvalidScenario(self.path(key), "must be a list" + (" with at least one entry" if required else ""))
        return value

    def named(self, key: str, known: set[str]) -> Iterator[tuple[str, "Keys"]]:
        """The entries of a mapping from names to mappings."""
        for name, value in Keys(self.path(key), self._tree.get(key) or {}, None)._tree.items():
            yield str(name), Keys(f"{self.path(key)}.{name}", value or {}, known)

    def text(self, key: str) -> str:
        """A text that must be given."""
        value = self._tree.get(key)
        if not isinstance(value, str) or not value.strip():
            raise InvalidScenario(self.path(key), "must be a text" if self.has(key) else "is missing")
        return value.strip()

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None) -> str:
        """One of ``allowed``; without a default it must be given."""
        value = self._tree.get(key, default)
        if value is None and not self.has(key):
            raise InvalidScenario(self.path(key), "is missing")
        if value not in allowed:
            raise InvalidScenario(self.path(key), f"{str(value)[:60]!r} is not one of {', '.join(allowed)}")
        return str(value)

    def flag(self, key: str) -> bool:
        """True or false; false when absent."""
        value = self._tree.get(key, False)
        if not isinstance(value, bool):
            raise InvalidScenario(self.path(key), "must be true or false")
        return value

    def count(self, key: str, default: int | None, least: int, most: int) -> int | None:
        """A whole number within bounds."""
        value = self._tree.get(key, default)
        if value is None and not self.has(key):
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidScenario(self.path(key), f"must be a whole number from {least} to {most}")
        return value

    def quantity(self, key: str, unit: str) -> float | None:
        """A human quantity in ``unit``, above zero; None when absent or null."""
        value = self._tree.get(key)
        if value is None:
            return None
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise InvalidScenario(self.path(key), f"must be a quantity in {unit}, such as {units.EXAMPLES[unit]}")
        try:
            return units.parse(value, unit)
        except units.InvalidQuantity as error:
            raise InvalidScenario(self.path(key), str(error)) from None

    def moment(self, key: str, *, default: float = 0.0, required: bool = False) -> float:
        """Seconds, zero allowed."""
        if not self.has(key):
            if required:
                raise InvalidScenario(self.path(key), "is missing")
            return default
        value = self._tree[key]
        if value in (0, "0", "0s") and not isinstance(value, bool):
            return 0.0
        seconds = self.quantity(key, "seconds")
        if seconds is None:
            raise InvalidScenario(self.path(key), f"must be a time, such as {units.EXAMPLES['seconds']}")
        return seconds

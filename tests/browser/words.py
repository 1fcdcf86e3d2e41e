"""What the page says: English sentences of the plugin's source in the language of the test, by the catalogue that Horizon uses."""

from collections.abc import Mapping


class Words:
    """``words("Set")``, ``words("Met", context="status of an objective")``, ``words("Take %(quantity)s", quantity="14 kpps")``."""

    def __init__(self, language: str, catalogue: Mapping[str, str]) -> None:
        self.language = language
        self._catalogue = catalogue

    def __call__(self, sentence: str, *, context: str = "", **values: object) -> str:
        key = f"{context}\x04{sentence}" if context else sentence
        text = self._catalogue.get(key) or sentence
        return text % values if values else text

    def status(self, sentence: str) -> str:
        """The name of a status."""
        return self(sentence, context="status of an objective")

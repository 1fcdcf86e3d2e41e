"""What a page of the dashboard showed of one instance, second by second: the table that it offers as CSV."""

import csv
from collections.abc import Iterable
from datetime import datetime

from stella.bench.results import ShownSeconds
from stella.model.attainment import Status

_WORDS = (("missed_seconds", Status.VIOLATED), ("met_seconds", Status.MET), ("unknown_seconds", Status.UNKNOWN))


def parse_table(lines: Iterable[str], instance: str) -> tuple[ShownSeconds, ...]:
    """The seconds of each metric, as the page counts them: missed, met, unknown, or none of these: no demand.

    Raises `ValueError` when it is not the table of `GET .../usage.csv`.
    """
    found: dict[str, dict[int, Status]] = {}
    for row in csv.DictReader(lines):
        try:
            second = int(datetime.fromisoformat(row["time"]).timestamp())
            status = next((status for column, status in _WORDS if int(row[column])), Status.NO_DEMAND)
            found.setdefault(row["metric"], {})[second] = status
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a table of usage: {error}") from None
    return tuple(ShownSeconds(instance=instance, metric=metric, statuses=seconds) for metric, seconds in found.items())

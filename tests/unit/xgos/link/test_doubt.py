"""Whether an intent may come from an older database: by revisions alone, also once an older one has caught up."""

import pytest

from stella.xgos.intents.source import IntentSet, Wanted
from stella.xgos.link.intent import HostIntent, doubt


def intent(revision: int, **slos: int) -> HostIntent:
    wanted = {uuid: Wanted(slo=None, revision=number) for uuid, number in slos.items()}
    return HostIntent(
        revision=revision, poll_seconds=1.0, report_seconds=3.0, watched=frozenset(), mode="enforce", slos=wanted
    )


KNOWN = IntentSet(revision=12, wanted=intent(12, a=5, b=11, c=12).slos)
"""The copy was made at revision 8: it has ``a``, and neither ``b`` nor ``c``."""


@pytest.mark.parametrize(
    ("answered", "older", "says"),
    [
        (intent(12, a=5, b=11, c=12), None, ""),
        (intent(13, a=5, b=11), None, ""),
        (intent(8, a=5), None, "is before 12"),
        (intent(12, a=5, b=12, c=12), None, "has other SLOs"),
        (intent(13, a=13), 8, "lacks 2 SLOs made since"),
        (intent(14, a=13, b=14), 8, "lacks 1 SLOs made since"),
        (intent(15, a=13, b=14, c=15), 8, ""),
        (intent(15, b=14, c=15), 8, ""),
        (intent(12, a=5, b=11, c=12), 8, ""),
    ],
)
def test_an_older_database(answered: HostIntent, older: int | None, says: str) -> None:
    """The last but one: ``a`` was known to the copy, so that it was withdrawn since is believed."""
    found = doubt(answered, KNOWN, older)
    assert says in found and bool(says) is bool(found)


def test_a_host_that_was_told_nothing_believes_all() -> None:
    assert doubt(intent(1), None, 8) == ""

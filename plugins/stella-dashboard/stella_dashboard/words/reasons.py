"""Reasons that the API and hosts tell as sentences in English: those that users meet often are said in their language.

Others, and those of a later release, are shown as they came.
"""

import re

from django.utils.translation import gettext_lazy as _

_SENTENCES = {
    "the instance is shut off": _("the instance is shut off"),
    "the instance is not on this host": _("the instance is not on this host"),
    "the server is shelved: it has no host": _("the server is shelved: it has no host"),
    "The instance is gone.": _("The instance is gone."),
    "As many instances of its host are watched as may be; try again later.": _(
        "As many instances of its host are watched as may be; try again later."
    ),
}
_PATTERNS = (
    (re.compile(r"(?P<cores>[\d.]+) cores reserved"), _("%(cores)s cores reserved")),
    (re.compile(r"the host (?P<host>\S+) is in mode observe"), _("the host %(host)s is in mode observe")),
    (re.compile(r"the host (?P<host>\S+) is in mode maintenance"), _("the host %(host)s is in mode maintenance")),
    (
        re.compile(r"the host (?P<host>\S+) has not reported its capacity yet"),
        _("the host %(host)s has not reported its capacity yet"),
    ),
    (re.compile(r"the host (?P<host>\S+) cannot enforce (?P<why>.+)"), _("the host %(host)s cannot enforce %(why)s")),
    (re.compile(r"does not fit on (?P<host>[^\s:]+): (?P<why>.+)"), _("does not fit on %(host)s: %(why)s")),
    (
        re.compile(r"(?P<number>\d+) other instances of the project are watched; no more may be\."),
        _("%(number)s other instances of the project are watched; no more may be."),
    ),
)


def show(reason: str) -> str:
    """The reason in the user's language, where it is known."""
    if reason in _SENTENCES:
        return str(_SENTENCES[reason])
    for pattern, sentence in _PATTERNS:
        found = pattern.fullmatch(reason)
        if found:
            return str(sentence) % found.groupdict()
    return reason

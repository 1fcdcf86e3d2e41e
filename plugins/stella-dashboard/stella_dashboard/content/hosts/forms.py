"""Change of a host's mode."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from horizon import forms as horizon_forms
from horizon import messages

from stella_dashboard.api import hosts
from stella_dashboard.api.hosts import Host
from stella_dashboard.words import names, operators, refusals


class ModeForm(horizon_forms.SelfHandlingForm):
    """What a host is to do. It changes what was seen, not what others set meanwhile; ``initial["found"]`` is the host."""

    generation = forms.IntegerField(widget=forms.HiddenInput)
    mode = forms.ChoiceField(choices=tuple(operators.MODES.items()), widget=forms.RadioSelect, label=_("Mode"))
    confirmed = forms.BooleanField(
        label=_("Yes, change the mode of this host"),
        error_messages={"required": _("Confirm that the mode is to be changed.")},
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        found = self.initial.get("found")
        if isinstance(found, Host):
            self.initial |= {"generation": found.generation, "mode": found.mode}

    @property
    def choices(self) -> list[Mapping[str, Any]]:
        """The modes, each with what it means."""
        chosen = self["mode"].value()
        return [
            {"value": mode, "name": name, "meaning": operators.MODE_MEANINGS[mode], "is_chosen": mode == chosen}
            for mode, name in operators.MODES.items()
        ]

    def handle(self, request: HttpRequest, data: Mapping[str, Any]) -> bool:
        """Change it. False where the API refuses, with the reason in the form."""
        found = self.initial.get("found")
        if not isinstance(found, Host):
            return False
        problem = hosts.set_mode(request, found.name, data["mode"], data["generation"])
        if problem is not None:
            self.add_error(None, refusals.sentence(problem))
            return False
        shown = {"name": found.name, "mode": names.of(operators.MODES, data["mode"])}
        messages.success(request, _("The mode of %(name)s is now: %(mode)s.") % shown)
        return True

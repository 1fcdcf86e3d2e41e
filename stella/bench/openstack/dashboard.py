"""A tenant who sets SLOs in Horizon, with a browser, as a person does: sign in, fill in the form, read its answer, send it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stella.bench.policies.base import PolicyError
from stella.bench.policies.tenant import NoSuchOption, Tenant
from stella.bench.results import Refusal
from stella.model import units
from stella.model.slo import Direction, Slo

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = "/usr/bin/chromium"
PANEL = "/project/service_levels/"
WAIT_MILLISECONDS = 30_000.0
IN_FORCE_MILLISECONDS = 60_000.0


def fields_of(slo: Slo) -> dict[str, str]:
    """The fields of the form by name, quantities as people write them. Raises `NoSuchOption`."""
    fields: dict[str, str] = {}
    priorities = {objective.priority for objective in slo.objectives}
    if len(priorities) > 1:
        raise NoSuchOption("the form has one priority for all objectives")
    for objective in slo.objectives:
        metric = objective.metric
        if objective.weight is not None:
            raise NoSuchOption("the form has no weight")
        for key in ("floor", "ceiling", "target"):
            value = getattr(objective, key)
            if value is not None:
                fields[f"{metric.value}-{key}"] = units.show(value, metric.unit)
        if objective.direction is not Direction.BOTH:
            fields[f"{metric.resource}-direction"] = objective.direction.value
    if max(priorities, default=0):
        fields["priority"] = str(max(priorities))
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """Horizon at ``url``. ``pictures`` gets one of each form before it is sent, and of the list when the SLO is in force."""

    url: str
    user: str
    password: str
    pictures: Path

    @contextmanager
    def _page(self) -> Iterator["Page"]:
        """A page on which the user is signed in; the browser ends with it, for beside a measurement it would be a load."""
        try:
            from playwright.sync_api import Error, sync_playwright  # noqa: PLC0415 (only who drives a browser has it)
        except ImportError:
            raise PolicyError("Playwright is not installed: make setup") from None
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_page(locale="en-GB", viewport={"width": 1280, "height": 800})
                page.set_default_timeout(WAIT_MILLISECONDS)
                page.goto(f"{self.url}/auth/login/?next={PANEL}")
                page.locator("#id_username").fill(self.user)
                page.locator("#id_password").fill(self.password)
                page.locator("#loginBtn").click()
                page.wait_for_url(f"**{PANEL}*")
                yield page
                browser.close()
        except Error as error:
            raise PolicyError(f"Horizon: {str(error).splitlines()[0]}") from None

    def set(self, name: str, uuid: str, fields: Mapping[str, str]) -> None:
        """Set it and wait until the page shows it in force. Raises `PolicyError` with what the form says."""
        with self._page() as page:
            page.goto(f"{self.url}{PANEL}{uuid}/set/")
            form = page.locator("form.stella-form")
            for field in form.locator('input[type="text"]').all():
                field.fill("")
            for key, value in fields.items():
                field = form.locator(f'[name="{key}"]')
                if key.endswith("-direction"):
                    field.select_option(value)
                else:
                    field.fill(value)
            answer = form.locator("[data-stella-answer] .alert")
            answer.wait_for()
            self._picture(page, f"form-{name}")
            if "alert-success" not in (answer.get_attribute("class") or ""):
                raise PolicyError(" ".join(answer.inner_text().split()))
            form.locator('input[type="submit"]').click()
            page.wait_for_url(f"{self.url}{PANEL}")
            row = page.locator(f'[data-stella-instance="{uuid}"]')
            row.locator(".stella-status").first.wait_for()
            row.locator(".stella-pending").first.wait_for(state="detached", timeout=IN_FORCE_MILLISECONDS)
            self._picture(page, f"list-{name}")

    def remove(self, uuid: str) -> None:
        """Remove it. Raises `PolicyError`."""
        with self._page() as page:
            page.goto(f"{self.url}{PANEL}{uuid}/remove/")
            page.locator('form.stella input[type="submit"]').click()
            page.wait_for_url(f"{self.url}{PANEL}")

    def _picture(self, page: "Page", name: str) -> None:
        self.pictures.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(self.pictures / f"{name}.png"), full_page=True)


class DashboardTenant(Tenant):
    """Sets SLOs in the dashboard; asks the API for the attainment as any tenant does. ``uuids``: by the scenario's names."""

    def __init__(
        self,
        dashboard: Dashboard,
        uuids: Mapping[str, str],
        client: Callable[..., object],
        get: Callable[[str], Mapping[str, Any]],
    ) -> None:
        super().__init__(uuids, client, get)
        self._dashboard = dashboard

    def change(self, instance: str, slo: Slo | None, at_seconds: float) -> Sequence[Refusal]:
        """In the browser. The run goes on without what is refused."""
        try:
            if slo is None:
                self._dashboard.remove(self._uuids[instance])
                self._slos.pop(instance, None)
            else:
                self._dashboard.set(instance, self._uuids[instance], fields_of(slo))
                self._slos[instance] = slo
        except (PolicyError, NoSuchOption) as error:
            self.refused.append(Refusal(instance=instance, at_seconds=at_seconds, message=str(error)))
            return (self.refused[-1],)
        return ()

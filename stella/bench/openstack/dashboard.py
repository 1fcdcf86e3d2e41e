"""A tenant who sets SLOs in Horizon, with a browser, as a person does: sign in, fill in the form, read its answer, send it.

While the loads run no browser does: on a machine that is full it would be one more neighbour. The seconds that were measured are read
from the pages right after, when the loads were halted.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stella.api import times
from stella.bench.openstack.shown import parse_table
from stella.bench.policies.base import PolicyError
from stella.bench.policies.tenant import NoSuchOption, Tenant, wishes
from stella.bench.results import Refusal, ShownSeconds
from stella.model import units
from stella.model.slo import Slo

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = "/usr/bin/chromium"
PANEL = "/project/service_levels/"
WAIT_MILLISECONDS = 60_000.0
IN_FORCE_MILLISECONDS = 60_000.0
WATCH_SECONDS = 5.0
"""The live view ends 30 s after somebody last asked for it (docs/api/live-view.md)."""


def fields_of(slo: Slo) -> dict[str, str]:
    """The fields of the form by name, quantities as people write them. Raises `NoSuchOption`, also for one that they would round."""
    asked = wishes(slo, where="the form")
    fields = {}
    for (metric, kind), value in asked.quantities.items():
        text = units.show(value, metric.unit)
        if not math.isclose(units.parse(text, metric.unit), value):
            raise NoSuchOption(f"{metric.value}.{kind}: {value!r} has too many digits for the form")
        fields[f"{metric.value}-{kind}"] = text
    fields |= {f"{resource}-direction": direction.value for resource, direction in asked.directions.items()}
    return fields | ({"priority": str(asked.priority)} if asked.priority else {})


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

    def clear(self) -> None:
        """Delete the pictures of an earlier run."""
        for picture in self.pictures.glob("*.png"):
            picture.unlink()

    def look(self, name: str) -> None:
        """A picture of the list."""
        with self._page() as page:
            self._picture(page, f"list-{name}")

    @contextmanager
    def open(self) -> Iterator[Callable[[str, str], bool]]:
        """The list in a browser that stays open: each call loads it and takes a picture of this name.

        True when all that the instance of this uuid is guaranteed is in force and its host tells of it.
        """
        with self._page() as page:

            def look(name: str, uuid: str) -> bool:
                page.goto(f"{self.url}{PANEL}")
                row = page.locator(f'[data-stella-instance="{uuid}"]')
                row.locator(".stella-status").first.wait_for()
                self._picture(page, name)
                return row.locator(".stella-pending, .stella-unknown, .stella-note").count() == 0

            yield look

    def read(self, names: Mapping[str, str]) -> tuple[ShownSeconds, ...]:
        """What the page of each instance (name to uuid) shows of the last 15 minutes, and a picture of it. Raises `PolicyError`."""
        shown: list[ShownSeconds] = []
        with self._page() as page:
            for name, uuid in names.items():
                page.goto(f"{self.url}{PANEL}{uuid}/")
                page.locator("[data-stella-chart] canvas").first.wait_for()
                self._picture(page, f"measured-{name}")
                with page.expect_download() as download:
                    page.locator("[data-stella-download]").click()
                try:
                    with Path(download.value.path()).open(encoding="utf-8", newline="") as table:
                        shown += parse_table(table, name)
                except ValueError as error:
                    raise PolicyError(f"{name}: {error}") from None
            page.goto(f"{self.url}{PANEL}")
            page.locator(".stella-status").first.wait_for()
            self._picture(page, "list-measured")
        return tuple(shown)

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
        self._ended = threading.Event()
        self._watching: threading.Thread | None = None

    def set_at_start(self, slos: Mapping[str, Slo]) -> list[Refusal]:
        """Set all, with a picture before; from then on the live view is asked for."""
        self._dashboard.clear()
        self._dashboard.look("before")
        refused = super().set_at_start(slos)
        self._watching = threading.Thread(target=self._watch, name="live view", daemon=True)
        self._watching.start()
        return refused

    def _watch(self) -> None:
        """Ask for the seconds of each instance as an open page does, only less often."""
        while not self._ended.wait(WATCH_SECONDS):
            for name in list(self._slos):
                with suppress(PolicyError):
                    self._get(f"/v1/instances/{self._uuids[name]}/usage?step=1&from={times.show(int(time.time()))}")

    def measured(self, start: float, end: float) -> None:
        """Ask the API for the attainment."""
        self._end_watch()
        super().measured(start, end)

    def look_back(self) -> None:
        """Read what the pages show of the measured seconds. What fails is a note."""
        try:
            self.shown = self._dashboard.read({name: self._uuids[name] for name in self._slos})
        except PolicyError as error:
            self.notes.append(str(error))

    def _end_watch(self) -> None:
        self._ended.set()
        if self._watching is not None:
            self._watching.join()

    def withdraw(self) -> None:
        """Unset what was set, with a picture after."""
        self._end_watch()
        super().withdraw()
        with suppress(PolicyError):
            self._dashboard.look("after")

    def _set(self, instance: str, slo: Slo) -> None:
        self._dashboard.set(instance, self._uuids[instance], fields_of(slo))

    def _unset(self, instance: str) -> None:
        self._dashboard.remove(self._uuids[instance])

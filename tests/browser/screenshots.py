"""Writes the pictures of the documentation, in both languages: ``python -m tests.browser.screenshots [DIRECTORY]``.

The directory is docs/images/horizon unless another is given. The pages are those of the browser tests; their instances are made up
here so that each state is seen once.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update

from stella.db.models import SloChange
from stella.engine.duties import rollups
from tests.browser import contract, offences
from tests.browser.horizon import REPOSITORY, catalogue
from tests.browser.keystone import PASSWORD
from tests.browser.pages import PANEL, Panel, sign_in
from tests.browser.site import LOCALES, Project, Site, chromium, new_project, running
from tests.browser.stella import always
from tests.browser.words import Words
from tests.functional.engines import run_duties

LARGEST_BYTES = 150_000
_WIDE = {"width": 1280, "height": 800}
_NARROW = {"width": 420, "height": 860}
_DAY_SECONDS = 86_400
_MISSED_SECONDS = 26
_NOW = int(time.time())
_COLOURS = 192
_TRIES = 3
_TERMS = {
    **contract.TERMS,
    "attainment_target_ratio": "0.995",
    "credits": [{"below_ratio": "0.995", "credit_ratio": "0.1"}],
}
_OFFERS = {"cpu": {"default": "20%"}, "network_packets": {"default": "5kpps"}, "block_bytes": {}}


def course(metric: str, at: int) -> str:
    """A web server: it asks all the time, for its disk with pauses; on some days, and a moment ago, its packets are missed."""
    if metric == "network_packets" and at % 3600 < _MISSED_SECONDS and at // _DAY_SECONDS % 6 == 4:
        return "missed"
    if metric == "network_packets" and 0 < at - _NOW + 420 < _MISSED_SECONDS:
        return "missed"
    return "idle" if at % 900 < 180 and metric == "block_bytes" else "met"


@dataclass(frozen=True, slots=True)
class Scene:
    """Instances of one project, by what they are there for."""

    project: Project
    web: str
    free: str
    sla: str
    violation: int
    suggestion: int


def build(site: Site) -> Scene:
    """Each state of an instance once; the web server has a past of this month."""
    project = new_project(site, "member", "admin")
    web = project.instance("web-1", course=course)
    project.set(web, cpu=0.2, network_packets=8000, block_bytes=120e6)
    broken = project.instance("db-1", course=always("missed"))
    project.set(broken, cpu=0.5, block_bytes=80e6)
    refused = project.instance(
        "mail", refused="cpu.floor: the floors need 0.35 cores of CPU and this host has 0.10 cores left to guarantee"
    )
    project.set(refused, cpu=0.3)
    named = project.instance(
        "analytics-of-the-second-quarter-with-a-name-as-long-as-some-tools-make-them-" + "0123456789" * 3
    )
    project.set(named, cpu=0.25)
    korean = project.instance("주문 서버", course=always("idle"))
    project.set(korean, network_packets=3000)
    free = project.instance("batch", course=always("idle"))
    for uuid in (web, named):
        project.wait_until_enforced(uuid)
    project.wait_for_violation(broken)
    now = int(time.time()) // 60 * 60
    objectives = {"cpu": {"floor": 0.2}, "network_packets": {"floor": 8000}, "block_bytes": {"floor": 120e6}}
    month = time.gmtime(now).tm_mday
    for day in range(1, month):
        start = now // _DAY_SECONDS * _DAY_SECONDS - day * _DAY_SECONDS + 36_000
        project.host.past(web, objectives, range(start, start + 5400, 60))
    project.host.past(web, objectives, range(now - 3 * 3600, now, 60))
    run_duties(site.stella.cloud, (rollups.DUTY,))
    project.set(web, cpu=0.25, network_packets=8000, block_bytes=120e6)
    project.wait_until_enforced(web)
    _backdate(site)
    sla = contract.put_under(project, "gold", terms=_TERMS, objectives=_OFFERS)
    contract.report_past(project, broken, minutes=90, cpu=0.5, block_bytes=80e6)
    contract.report_past(project, named, minutes=90, cpu=0.25)
    violation = project.user.get(f"/v1/violations?uuid={broken}").json["violations"][0]["id"]
    return Scene(project, web, free, sla, violation, _offend(site, project, broken, free))


def _offend(site: Site, project: Project, victim: str, hog: str) -> int:
    """``hog`` takes CPU from ``victim``; one move helped already, another one is suggested: its number."""
    other = site.stella.host(f"{project.host.agent.name}-b", cpus=8).agent.name
    offences.use(project, hog, used_cores=1.6, entitled_cores=0.4)
    offences.use(project, victim, used_cores=0.31, entitled_cores=0.55)
    offences.offend(project, hog, victim, missed_seconds=150)
    moved = project.instance("build-7", course=always("idle"))
    earlier = offences.suggest(project, moved, other, victim, minutes_ago=50)
    site.stella.move(project.host, moved, other)
    offences.follow(project)
    offences.measure(project, earlier, effect=900.0)
    return offences.suggest(project, hog, other, victim)


def _backdate(site: Site) -> None:
    """What was set now was set in the last weeks, so that what is guaranteed is seen in the charts."""
    ages = {1: 20 * _DAY_SECONDS, 2: 300.0}
    with site.stella.cloud.database.engine.begin() as connection:
        for generation, seconds in ages.items():
            changed = update(SloChange).where(SloChange.generation == generation)
            connection.execute(changed.values(changed_at=SloChange.changed_at - seconds))


class Photographer:
    """Takes pictures of one language."""

    def __init__(self, browser: Browser, site: Site, scene: Scene, language: str, directory: Path) -> None:
        self._site, self._scene, self._directory, self._language = site, scene, directory, language
        self._words = Words(language, catalogue(language))
        context = browser.new_context(locale=LOCALES[language], viewport=_WIDE, timezone_id="Asia/Seoul")
        context.set_default_timeout(20_000)
        self.page: Page = context.new_page()
        self.panel = Panel(self.page, site.horizon.url, self._words)
        sign_in(self.page, site.horizon.url, scene.project.account.name, PASSWORD)

    def take(self, name: str, *, whole: bool = False) -> None:
        """One picture, of the whole page or of what is seen of it; the mouse is out of the way."""
        self.page.mouse.move(0, 0)
        self.page.evaluate("document.fonts.ready")
        self.page.wait_for_timeout(400)
        shot = Image.open(BytesIO(self.page.screenshot(full_page=whole, animations="disabled")))
        small = shot.convert("RGB").quantize(colors=_COLOURS, dither=Image.Dither.NONE)
        path = self._directory / f"{name}.{self._language}.png"
        small.save(path, optimize=True)
        assert path.stat().st_size <= LARGEST_BYTES, f"{path} has {path.stat().st_size} bytes"

    def all(self) -> None:
        """Those of the guide."""
        for step in (self._list, self._form, self._detail, self._slas, self._narrow, self._operators, self._states):
            step()

    def _list(self) -> None:
        self.panel.open()
        self.panel.expect_status(self._scene.web, "cpu", "Met")
        self.take("list")

    def _form(self) -> None:
        self._fill(self._scene.free)
        self.take("form")
        self.panel.field("network_packets-floor").fill("200 kpps")
        expect(self.panel.answer.locator("button")).to_be_visible()
        self.take("form-refused")

    def _fill(self, uuid: str) -> None:
        self.panel.open()
        self.panel.open_form(uuid)
        self.panel.field("cpu-floor").fill("20 %")
        self.panel.field("network_packets-floor").fill("10 kpps")
        expect(self.panel.answer).to_be_visible()

    def _detail(self) -> None:
        self.panel.open_detail(self._scene.web)
        self.panel.expect_points()
        self.take("detail", whole=True)

    def _slas(self) -> None:
        budget = self.page.locator("#stella-budget")
        for _ in range(_TRIES):
            self.panel.open_detail(self._scene.web)
            with suppress(AssertionError):  # a busy machine: its chart was not answered in time
                expect(budget.locator("canvas").last).to_be_visible(timeout=10_000)
                break
        self.page.evaluate("document.getElementById('stella-budget').scrollIntoView()")
        self.take("budget")
        self.panel.goto_answered(f"/project/sla_reports/{self._scene.sla}/")
        self.take("report")
        self.panel.goto_answered(f"{PANEL}violations/{self._scene.violation}/")
        self.panel.expect_points()
        self.take("violation")

    def _narrow(self) -> None:
        self.page.set_viewport_size(_NARROW)
        self.panel.open()
        self.panel.expect_status(self._scene.web, "cpu", "Met")
        self.take("list-narrow")
        self._fill(self._scene.free)
        self.take("form-narrow")
        self.panel.open_detail(self._scene.web)
        self.panel.expect_points()
        self.take("detail-narrow")
        self.page.set_viewport_size(_WIDE)

    def _operators(self) -> None:
        for name, path in (
            ("overview", "/project/service_levels_overview/"),
            ("operators-overview", "/admin/stella_overview/"),
            ("operators-hosts", "/admin/stella_hosts/"),
            ("operators-violations", "/admin/stella_violations/"),
            ("operators-decisions", "/admin/stella_decisions/"),
            ("operators-relief", "/admin/stella_decisions/?kind=relief"),
            ("operators-host", f"/admin/stella_hosts/{self._scene.project.host.agent.name}/"),
        ):
            self.panel.goto_answered(path)
            self.take(name, whole=name == "operators-host")

    def _states(self) -> None:
        self.panel.open("?health=pending")
        self.take("list-empty")
        self._site.stella.delay_seconds = 30.0
        self.panel.goto(PANEL)
        self.take("list-away")
        self._site.stella.delay_seconds = 0.0
        self.panel.open()


def main(directory: Path, wanted: Callable[[str], bool] = lambda language: True) -> None:
    """All pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, running(Path(temporary)) as site, chromium() as browser:
        scene = build(site)
        for language in filter(wanted, sorted(LOCALES)):
            Photographer(browser, site, scene, language, directory).all()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "images" / "horizon")

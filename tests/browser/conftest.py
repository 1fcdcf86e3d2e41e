"""A browser before the real Horizon, which asks stella-api in this process; Keystone is emulated as far as the sign-in needs it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.horizon import Horizon, catalogue
from tests.browser.keystone import PASSWORD, Account, EmulatedKeystone
from tests.browser.pages import Panel, sign_in
from tests.browser.stella import MET, Course, ScriptedHost, Stella
from tests.browser.watching import Watch
from tests.browser.words import Words
from tests.functional.conftest import User
from tests.functional.process import wait

CHROMIUM = "/usr/bin/chromium"
LOCALES = {"en": "en-GB", "ko": "ko-KR"}
SIZE = {"width": 1280, "height": 900}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Site:
    """Horizon and what stands behind it."""

    stella: Stella
    keystone: EmulatedKeystone
    horizon: Horizon


@dataclass
class Project:
    """A project of the test's own, with one member and one host."""

    name: str
    account: Account
    user: User
    host: ScriptedHost
    site: Site

    def instance(self, name: str, *, course: Course = MET, refused: str = "") -> str:
        """The uuid of a new instance."""
        uuid = f"00000000-0000-4000-8000-{next(_numbers):012d}"
        self.site.stella.instance(self.host, uuid, self.name, name, course=course, refused=refused)
        return uuid

    def set(self, uuid: str, **floors: float) -> None:
        """Guarantee these floors, in base units."""
        answer = self.user.put_slo(uuid, {metric: {"floor": floor} for metric, floor in floors.items()})
        assert answer.status_code == 201, answer.text

    def wait_for_violation(self, uuid: str) -> None:
        """Until the API knows of it."""
        found = wait(lambda: self.user.get(f"/v1/violations?uuid={uuid}&open=true").json.get("violations"), 15)
        assert found, "no violation"

    def wait_until_enforced(self, uuid: str, *, state: str = "enforced") -> None:
        """Until the host has said so."""
        assert wait(lambda: self.user.get(f"/v1/instances/{uuid}/slo").json["state"] == state, 15), f"not {state}"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium, without a window."""
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # the tests run as root
        yield made
        made.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests."""
    directory = tmp_path_factory.mktemp("site")
    stella = Stella(directory)
    keystone = EmulatedKeystone(stella.url)
    try:
        horizon = Horizon(directory, keystone.url)
        try:
            yield Site(stella, keystone, horizon)
        finally:
            horizon.stop()
    finally:
        keystone.stop()
        stella.stop()
    assert not stella.errors, stella.errors


@pytest.fixture(params=sorted(LOCALES))
def language(request: pytest.FixtureRequest) -> str:
    """Each of those that the plugin has."""
    return str(request.param)


@pytest.fixture
def words(language: str) -> Words:
    """The page's sentences."""
    return Words(language, catalogue(language))


@pytest.fixture
def project(site: Site) -> Iterator[Project]:
    """Empty."""
    made = new_project(site, "member")
    yield made
    site.stella.hosts.remove(made.host)


def new_project(site: Site, *roles: str) -> Project:
    """One whose user has these roles."""
    number = next(_numbers)
    name = f"p{number}"
    user = site.stella.cloud.user(f"user{number}", name, *roles)
    account = site.keystone.add(f"user{number}", name, ("reader", *roles), user.token)
    return Project(name, account, user, site.stella.host(f"host{number}"), site)


@pytest.fixture
def context(browser: Browser, language: str) -> Iterator[BrowserContext]:
    """A browser that knows nobody, in the test's language."""
    made = browser.new_context(locale=LOCALES[language], viewport=SIZE, timezone_id="Asia/Seoul")
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def watch(context: BrowserContext, site: Site, project: Project) -> Watch:
    """A page that is watched."""
    secrets = [project.account.token, f"unscoped-{project.account.token}", project.host.agent.credential]
    return Watch(context.new_page(), site.horizon.url, secrets)


@pytest.fixture
def panel(watch: Watch, site: Site, project: Project, words: Words) -> Panel:
    """The project's member is signed in."""
    sign_in(watch.page, site.horizon.url, project.account.name, PASSWORD, path="/settings/")
    watch.look()
    return Panel(watch.page, site.horizon.url, words)


@pytest.fixture
def known_reports(watch: Watch, panel: Panel) -> frozenset[str]:
    """What Horizon's own pages do against the strict policy: those before the panel."""
    return frozenset(watch.reports)


@pytest.fixture
def page(watch: Watch, panel: Panel) -> Page:
    """Of the signed-in member."""
    return watch.page

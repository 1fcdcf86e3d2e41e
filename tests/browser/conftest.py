"""A browser before the real Horizon, which asks stella-api in this process; Keystone is emulated as far as the sign-in needs it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.horizon import catalogue
from tests.browser.keystone import PASSWORD
from tests.browser.pages import Panel, sign_in
from tests.browser.site import LOCALES, SIZE, Project, Site, chromium, new_project, running
from tests.browser.watching import Watch
from tests.browser.words import Words

expect.set_options(timeout=20_000)  # other tests may keep the machine busy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test in several languages those are quick that its `quick_in` names."""
    for item in items:
        named, call = item.get_closest_marker("quick_in"), getattr(item, "callspec", None)
        if named is not None and call is not None and call.params.get("language") in named.args:
            item.add_marker(pytest.mark.quick)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with chromium() as made:
        yield made


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all tests."""
    with running(tmp_path_factory.mktemp("site")) as made:
        yield made
        assert not made.stella.errors, made.stella.errors


@pytest.fixture(params=sorted(LOCALES))
def language(request: pytest.FixtureRequest) -> str:
    """Each of those that the plugin has."""
    return str(request.param)


@pytest.fixture
def words(language: str) -> Words:
    """The page's sentences."""
    return Words(language, catalogue(language))


@pytest.fixture
def roles() -> tuple[str, ...]:
    """Those of the user; modules have others."""
    return ("member",)


@pytest.fixture
def project(site: Site, roles: tuple[str, ...]) -> Iterator[Project]:
    """Empty."""
    made = new_project(site, *roles)
    yield made
    site.stella.hosts.remove(made.host)


@pytest.fixture
def context(browser: Browser, language: str) -> Iterator[BrowserContext]:
    """A browser that knows nobody, in the test's language."""
    made = browser.new_context(locale=LOCALES[language], viewport=SIZE, timezone_id="Asia/Seoul")
    made.set_default_timeout(60_000)
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

"""Horizon with what stands behind it, and projects in it, for the tests and for the screenshots."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.horizon import Horizon
from tests.browser.keystone import Account, EmulatedKeystone
from tests.browser.stella import MET, Course, ScriptedHost, Stella
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
        """Guarantee these floors, in base units, in place of what was."""
        known = self.user.get(f"/v1/instances/{uuid}/slo")
        seen = {"generation": known.json["generation"]} if known.status_code == 200 else {}
        answer = self.user.put_slo(uuid, {metric: {"floor": floor} for metric, floor in floors.items()}, **seen)
        assert answer.status_code in (200, 201), answer.text

    def wait_for_violation(self, uuid: str) -> None:
        """Until the API knows of it."""
        found = wait(lambda: self.user.get(f"/v1/violations?uuid={uuid}&open=true").json.get("violations"), 15)
        assert found, "no violation"

    def wait_until_enforced(self, uuid: str, *, state: str = "enforced") -> None:
        """Until the host has said so."""
        assert wait(lambda: self.user.get(f"/v1/instances/{uuid}/slo").json["state"] == state, 15), f"not {state}"


def new_project(site: Site, *roles: str) -> Project:
    """One whose user has these roles."""
    number = next(_numbers)
    name = f"p{number}"
    user = site.stella.cloud.user(f"user{number}", name, *roles)
    account = site.keystone.add(f"user{number}", name, ("reader", *roles), user.token)
    return Project(name, account, user, site.stella.host(f"host{number}"), site)


@contextmanager
def running(directory: Path) -> Iterator[Site]:
    """A site until the block ends."""
    with ExitStack() as stack:
        stella = Stella(directory)
        stack.callback(stella.stop)
        keystone = EmulatedKeystone(stella.url)
        stack.callback(keystone.stop)
        horizon = Horizon(directory, keystone.url)
        stack.callback(horizon.stop)
        yield Site(stella, keystone, horizon)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's chromium, without a window, until the block ends."""
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # the tests run as root
        try:
            yield made
        finally:
            made.close()

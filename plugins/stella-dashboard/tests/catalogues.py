"""Catalogues as the tests need them: compiled as they are, and as they would be if they were brought up to date."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import stella_dashboard
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

PACKAGE = Path(stella_dashboard.__file__).parent
_CATALOGUE = "LC_MESSAGES/django.po"


def locales() -> list[str]:
    """Those that there is a catalogue of."""
    return sorted(path.parents[1].name for path in (PACKAGE / "locale").glob(f"*/{_CATALOGUE}"))


def read(path: Path) -> Catalog:
    """A catalogue's file."""
    with path.open("rb") as file:
        return read_po(file)


def of(package: Path, locale: str) -> Path:
    """The file of an application's catalogue."""
    return package / "locale" / locale / _CATALOGUE


def compile_all(directory: Path) -> str:
    """Compile them below ``directory``, as the build of the wheel does; what LOCALE_PATHS gets."""
    for locale in locales():
        compiled = (directory / locale / _CATALOGUE).with_suffix(".mo")
        compiled.parent.mkdir(parents=True, exist_ok=True)
        with compiled.open("wb") as file:
            write_mo(file, read(of(PACKAGE, locale)))
    return str(directory)


def brought_up_to_date(directory: Path) -> Iterator[tuple[str, Catalog]]:
    """Locales, each with its catalogue as `scripts/translate-stella-dashboard.sh` would make it of the sources, in a copy of them.

    Its messages have the places where they stand; what the sources no longer have is obsolete.
    """
    copy = directory / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "static", "*.mo"))
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    asked = [f"--locale={locale}" for locale in locales()]
    command = [sys.executable, "-m", "django", "makemessages", "--no-wrap", "--verbosity=0", *asked]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    for locale in locales():
        yield locale, read(of(copy, locale))

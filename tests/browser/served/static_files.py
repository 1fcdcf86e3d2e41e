"""Compiles the Korean catalogues, collects and compresses styles and scripts, then asks for a page that needs them all."""

import os
from pathlib import Path

import django
import stella_dashboard
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

FILES = Path(os.environ["STELLA_TEST_FILES"])

packages = [Path(stella_dashboard.__file__).parent, *Path(django.__file__).parents[1].glob("*")]
for source in (found for package in packages for found in package.glob("locale/ko_KR/LC_MESSAGES/django*.po")):
    compiled = FILES / "locale" / source.parents[3].name / "ko_KR" / "LC_MESSAGES" / f"{source.stem}.mo"
    if not compiled.exists():  # the plugin that this environment may have is not this checkout's
        compiled.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as texts, compiled.open("wb") as written:
            write_mo(written, read_po(texts))

django.setup()

from compressor.exceptions import OfflineGenerationError  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

call_command("collectstatic", interactive=False, verbosity=0)
for left in (3, 2, 1, 0):  # the compressor works in threads and passes over what fails in one
    call_command("compress", force=True, verbosity=0)
    try:
        assert Client(SERVER_NAME="127.0.0.1").get("/auth/login/").status_code == 200
        break
    except OfflineGenerationError:
        if not left:
            raise

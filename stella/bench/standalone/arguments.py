"""The options of `stella-bench up`, `down` and `load`; imports nothing that takes time."""

import argparse
from collections.abc import Callable
from pathlib import Path

LOADS = ("packets", "disk", "cpu", "stop")


def add_commands(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add the three commands; ``command`` makes one from its name and its text."""
    up = command("up", "start a stand-alone Stella to try, and leave it running")
    up.add_argument(
        "--hosts",
        default="lab",
        metavar="lab|sim:N",
        help="lab: three idle guests on one host (needs root; lab:N: one to three); "
        "sim:N: N simulated hosts (default: %(default)s)",
    )
    down = command("down", "stop what up started and remove its files")
    load = command("load", "start or stop load in a guest of up --hosts lab")
    load.add_argument("instance", metavar="INSTANCE", help="vm1, vm2 or vm3")
    load.add_argument("load", choices=LOADS)
    for each in (up, down, load):
        each.add_argument(
            "--directory", type=Path, default=Path(".run"), metavar="DIR", help="its files (default: %(default)s)"
        )

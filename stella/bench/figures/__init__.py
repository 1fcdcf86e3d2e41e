"""Every figure of docs/benchmarks.md, measured: families of rounds, judged apart from running, and the page made of them."""

from stella.bench.figures.command import Asked, exit_status, listing, run_figures
from stella.bench.figures.families import UnknownFamily
from stella.bench.figures.store import InvalidStore

__all__ = ["Asked", "InvalidStore", "UnknownFamily", "exit_status", "listing", "run_figures"]

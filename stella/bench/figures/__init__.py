"""Every figure that Stella promises of itself, measured: families of runs, judged apart from running, and the page made of them."""

from stella.bench.figures.command import Asked, all_pass, listing, run_figures
from stella.bench.figures.families import UnknownFamily
from stella.bench.figures.store import InvalidStore

__all__ = ["Asked", "InvalidStore", "UnknownFamily", "all_pass", "listing", "run_figures"]

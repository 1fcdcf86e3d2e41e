"""The properties of the control law in closed loop with the model of a host, over seeds (`stella-sim check` runs more of them)."""

import os

import pytest

from stella.sim.check import PROPERTIES, broken, result_of

LONG = bool(os.environ.get("STELLA_LONG_TESTS"))
SEEDS = {2: range(20) if LONG else range(5), 16: range(20) if LONG else range(2), 128: range(20) if LONG else range(1)}


@pytest.mark.parametrize(("cores", "seed"), [(cores, seed) for cores, seeds in SEEDS.items() for seed in seeds])
def test_all_properties_hold(cores: int, seed: int) -> None:
    result = result_of(seed, cores)
    figures = {each.name: each.figure(result) for each in PROPERTIES}
    assert not [each.name for each in broken(result)], f"stella-sim check --seed {seed} --cpus {cores}: {figures}"

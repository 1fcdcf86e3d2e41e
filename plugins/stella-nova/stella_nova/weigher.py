"""The scheduler weigher. nova.conf: ``weight_classes = nova.scheduler.weights.all_weighers,stella_nova.weigher.StellaWeigher``."""

import time
from collections.abc import Sequence
from typing import Any

import nova.conf
from nova.scheduler import utils, weights

from stella_nova import decisions, options

options.register(nova.conf.CONF)


class StellaWeigher(weights.BaseHostWeigher):  # type: ignore[misc]  # Nova has no types
    """Prefers hosts with much CPU left to guarantee, and those whose SLOs were met lately. Neutral while Stella does not answer.

    Both are ratios, so they are taken as they are (``minval`` and ``maxval``): a difference of a percent stays one.
    """

    minval = 0.0
    maxval = 1.0

    def _weigh_object(self, obj: Any, weight_properties: Any) -> float:
        """Of one host alone."""
        return decisions.weights(self._answer([obj], weight_properties), [obj], _multiplier)[0]

    def weigh_objects(self, weighed_obj_list: Sequence[Any], weight_properties: Any) -> list[float]:
        """Of all hosts, by what Stella said to the filter, else by one question."""
        hosts = [weighed.obj for weighed in weighed_obj_list]
        begun = time.perf_counter()
        found = decisions.weights(self._answer(hosts, weight_properties), hosts, _multiplier)
        seconds = time.perf_counter() - begun
        if hosts and decisions.question(weight_properties) is not None:
            decisions.note("weigher", weight_properties, hosts=len(hosts), left=len(hosts), seconds=seconds)
        return found

    @staticmethod
    def _answer(hosts: Sequence[Any], spec: Any) -> Any:
        return decisions.ask(decisions.SHARED.get(nova.conf.CONF), spec, hosts) if hosts else None


def _multiplier(host: Any, name: str) -> float:
    """As configured, or as the aggregate of the host has it."""
    configured = nova.conf.CONF[options.GROUP][name]
    return float(utils.get_weight_multiplier(host, f"{options.GROUP}_{name}", configured))

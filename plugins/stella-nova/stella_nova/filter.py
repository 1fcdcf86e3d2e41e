"""The scheduler filter. nova.conf: ``available_filters = stella_nova.filter.StellaFilter``, and in ``enabled_filters``."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import nova.conf
from nova.scheduler import filters, utils

from stella_nova import decisions, options

options.register(nova.conf.CONF)


class StellaFilter(filters.BaseHostFilter):  # type: ignore[misc]  # Nova has no types
    """Hosts that can hold the SLO that the flavor sells, beside all that they hold already.

    Instances whose flavor sells none pass untouched, unless they move: their user may have set one. All pass while Stella does not
    answer.
    """

    RUN_ON_REBUILD = False

    def filter_all(self, filter_obj_list: Iterable[Any], spec_obj: Any) -> Iterator[Any]:
        """The hosts that pass, by one question about all of them."""
        hosts = list(filter_obj_list)
        if not hosts or utils.request_is_rebuild(spec_obj) or decisions.question(spec_obj) is None:
            return iter(hosts)
        begun = time.perf_counter()  # the list above let the filters before this one work
        answer = decisions.ask(decisions.SHARED.get(nova.conf.CONF), spec_obj, hosts)
        passed = decisions.passing(answer, spec_obj, hosts)
        seconds = time.perf_counter() - begun
        decisions.note("filter", spec_obj, hosts=len(hosts), left=len(passed), seconds=seconds)
        return iter(passed)

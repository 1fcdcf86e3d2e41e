"""The account over steps of the wall clock and restarts of the agent, from windows to files and back: each second once."""

from pathlib import Path

import pytest

from stella.control.windows import due
from stella.model.attainment import Cause, Status
from stella.model.slo import Metric
from stella.xgos.accounting.history import History
from stella.xgos.line_log import LineWriter
from tests.unit.xgos.conftest import NOW, VM1, report

HOUR, DAYS = 3600.0, 90 * 86400.0


class Host:
    """An agent whose clocks are a test's: ``wall`` is off by ``step`` seconds."""

    def __init__(self, directory: Path, writer: LineWriter) -> None:
        self.directory, self.writer = directory, writer
        self.monotonic, self.step = 1000.0, 0.0
        self.start()

    @property
    def wall(self) -> float:
        return NOW + self.monotonic - 1000.0 + self.step

    def start(self) -> None:
        self.writer.flush()
        self.history = History(self.directory, self.writer, now_seconds=self.wall, background=False)
        self.clock = self.history.clock(self.wall, self.monotonic)
        self.last_tick = self.monotonic

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.monotonic += 0.25
            spans, self.clock = due(self.clock, self.wall, self.monotonic)
            for span in spans:
                seen = span.begin_monotonic_seconds >= self.last_tick
                one = report() if seen else report(Status.UNKNOWN, usage=None, cause=Cause.SENSOR)
                end = span.end_monotonic_seconds
                assert self.history.record(span.start, [(VM1, [one])], seconds=span.windows, end_monotonic_seconds=end)
        self.writer.flush()

    def counted(self) -> tuple[int, int]:
        """Met and unknown windows."""
        found = self.history.tally(VM1, Metric.CPU, 0)
        return found.met, found.unknown


@pytest.mark.parametrize("step", [HOUR, -HOUR, DAYS, -DAYS])
@pytest.mark.parametrize("back", [False, True])
def test_each_second_once(tmp_path: Path, step: float, back: bool) -> None:
    host = Host(tmp_path, LineWriter(capacity=5000))
    host.run(130)
    host.step = step
    host.run(100)
    host.start()  # at once
    host.run(100)
    host.monotonic += 30.0  # and after thirty seconds
    host.start()
    host.run(100)
    if back:
        host.step = 0.0
    host.monotonic += 7200.0  # and after two hours, in which the clock may have been mended
    host.start()
    host.run(100)
    met, unknown = host.counted()
    elapsed = host.monotonic - 1000.0
    assert abs(met + unknown - elapsed) <= 0.006 * elapsed
    assert abs(met + unknown + 2 - elapsed) <= 45  # windows that are 5 ms longer bring labels back that are ahead
    assert 500 <= met <= 530 and abs(unknown - 7230) <= 45
    host.start()
    assert host.counted() == (met, unknown)
    host.writer.close()

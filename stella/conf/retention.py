"""How long things are kept, from ``[engine]``; the API, which refuses minutes that are too old, and the engine read the same."""

from dataclasses import dataclass, replace

from oslo_config import cfg

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Seconds for which things are kept."""

    minute_seconds: int
    hour_seconds: int
    day_seconds: int
    history_seconds: int

    @staticmethod
    def of(config: cfg.ConfigOpts) -> "Retention":
        """What the configuration says."""
        engine = config.engine
        minute, hour, day = engine.minute_retention_days, engine.hour_retention_days, engine.day_retention_days
        return Retention(
            minute_seconds=minute * DAY_SECONDS,
            hour_seconds=max(minute, hour) * DAY_SECONDS,  # a late minute needs the other hours of its day
            day_seconds=max(minute, hour, day) * DAY_SECONDS,
            history_seconds=engine.history_retention_days * DAY_SECONDS,
        )

    def shorter(self, seconds: int) -> "Retention":
        """Minutes and history kept for ``seconds``; hours and days, on which SLAs rest, as before."""
        return replace(self, minute_seconds=seconds, history_seconds=seconds)

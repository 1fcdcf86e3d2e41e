"""How long things are kept, from ``[engine]``; the API, which refuses minutes that are too old, and the engine read the same."""

from dataclasses import dataclass

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
        return Retention(
            minute_seconds=engine.minute_retention_days * DAY_SECONDS,
            hour_seconds=engine.hour_retention_days * DAY_SECONDS,
            day_seconds=engine.day_retention_days * DAY_SECONDS,
            history_seconds=engine.history_retention_days * DAY_SECONDS,
        )

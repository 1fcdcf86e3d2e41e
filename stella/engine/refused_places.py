"""Places where the cloud's ledger had no room: not asked for again at once, so that another one is tried."""

AGAIN_SECONDS = 300.0


class RefusedPlaces:
    """Pairs of an instance and a host."""

    def __init__(self) -> None:
        """None yet."""
        self._until: dict[tuple[str, str], float] = {}

    def add(self, instance: str, host: str, now: float) -> None:
        """There was no room for it."""
        self._until[instance, host] = now + AGAIN_SECONDS

    def at(self, now: float) -> frozenset[tuple[str, str]]:
        """Those that are not to be asked for now (Unix seconds)."""
        self._until = {place: until for place, until in self._until.items() if until > now}
        return frozenset(self._until)

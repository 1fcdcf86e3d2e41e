"""A process that does nothing but wake every 50 ms, and says when it woke late: then the machine stalled, not the policy.

Run by path under the system's Python, in a group of its own; prints ``moment late_seconds``, Unix time and seconds.
"""

import time

PERIOD_SECONDS = 0.05
STALL_SECONDS = 0.2


def main() -> None:
    """Beat for ever."""
    due = time.monotonic() + PERIOD_SECONDS
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        late = time.monotonic() - due
        if late > STALL_SECONDS:
            print(f"{time.time():.3f} {late:.3f}", flush=True)
        due = max(due + PERIOD_SECONDS, time.monotonic())


if __name__ == "__main__":
    main()

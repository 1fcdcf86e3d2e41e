"""What feed-forward leaves over: correct a reservation while an objective is missed for want of CPU.

Two terms, both of them factors on the reservation R, both zero when all is well:

* the **debt**: seconds' worth of its floor that an instance is behind, d' = 1 - usage/floor while it asks and is starved,
  paid back when it gets more than its floor, forgotten when it stops asking. R grows by debt / `PAYBACK_SECONDS`: what is
  owed is caught up within that time. This is the proportional term on the integral of the error over the last second, bounded
  to `LARGEST_DEBT_SECONDS` (anti-windup), and it keeps a window whole although its first quarter went wrong.
* the **gain**: what the cost model is wrong by. It grows slowly while there is debt and decays slowly when there is none, so
  that two instances that want the same last core settle instead of swinging.
"""

from dataclasses import dataclass

PAYBACK_SECONDS = 0.5
LARGEST_DEBT_SECONDS = 0.4
_DEBT_DEADBAND_SECONDS = 0.04
_GAIN_DEADBAND_SECONDS = 0.1
_GAIN_PER_SECOND_OF_DEBT = 1.0
_GAIN_DECAY_PER_SECOND = 0.03
LARGEST_GAIN = 0.6
AIM_RATIO = 1.05
"""A floor is aimed at a little above itself: what is evaluated in whole windows must not lie on the line."""
CONTENT_RATIO = 1.25
"""What counts as attained by one that asks for about its floor and gets that: it is owed nothing, and would else run up debt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """State of one instance's loop. ``debt_seconds`` 0 to `LARGEST_DEBT_SECONDS`, ``gain`` 0 to `LARGEST_GAIN`."""

    debt_seconds: float = 0.0
    gain: float = 0.0

    @property
    def factor(self) -> float:
        """What the reservation is multiplied by: 1 or more."""
        debt = max(0.0, self.debt_seconds - _DEBT_DEADBAND_SECONDS)
        return (1.0 + self.gain) * (1.0 + debt / PAYBACK_SECONDS)


def step(state: Feedback, *, attained_ratio: float | None, starved: bool, seconds: float) -> Feedback:
    """The state after a tick of ``seconds``.

    ``attained_ratio`` is usage / floor of its worst objective that asked, None when none asked; `CONTENT_RATIO` at least where it got
    all that it asked for. ``starved``: it lacked CPU.
    """
    dt = min(max(seconds, 0.0), 1.0)  # after a stop of the agent no giant step
    if attained_ratio is None:
        return Feedback(debt_seconds=0.0, gain=max(0.0, state.gain - _GAIN_DECAY_PER_SECOND * dt))
    error = 1.0 - attained_ratio / AIM_RATIO
    debt = state.debt_seconds
    if error < 0 or starved:
        debt = min(LARGEST_DEBT_SECONDS, max(0.0, debt + error * dt))
    if debt > _GAIN_DEADBAND_SECONDS:
        gain = state.gain + _GAIN_PER_SECOND_OF_DEBT * debt * dt
    else:
        gain = state.gain - _GAIN_DECAY_PER_SECOND * dt
    return Feedback(debt_seconds=debt, gain=min(LARGEST_GAIN, max(0.0, gain)))

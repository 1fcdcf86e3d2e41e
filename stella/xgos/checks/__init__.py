"""`xgos check`: whether this host is as the agent needs it. Facts are gathered (`gather`); pure functions judge them (`verdicts`)."""

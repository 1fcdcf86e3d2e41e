"""`stella-status upgrade check`: whether a cloud is as Stella needs it. Facts are gathered; pure functions judge them (`verdicts`)."""

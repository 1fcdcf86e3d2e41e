"""The host's side of the link to stella-api: intent is fetched, reports are posted. Floors are kept without it."""

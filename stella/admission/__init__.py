"""Admission over what is in the database and in the cloud's ledger: the API and the engine change SLOs through this alone."""

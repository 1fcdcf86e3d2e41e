"""A stand-alone Stella on this machine, to try: stella-api and stella-engine on SQLite, and hosts, as detached processes."""

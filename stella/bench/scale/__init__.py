"""The figures of load and scale: a real stella-api process, its database, emulated hosts and users, what it took them."""

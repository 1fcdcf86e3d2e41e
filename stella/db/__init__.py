"""The database of stella-api and stella-engine: tables, migrations, and the queries of each resource in a module of its own."""

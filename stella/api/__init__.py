"""stella-api: the REST service. `routes` has the whole API on one screen; a resource has one file name everywhere.

``handlers/NAME.py``: what it does; ``schemas/NAME.py``: what goes in and out; ``policies/NAME.py``: who may. Its queries are in
``stella/db``.
"""

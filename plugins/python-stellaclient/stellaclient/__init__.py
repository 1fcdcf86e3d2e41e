"""Client of Stella's REST API. It knows Stella through that API alone."""

SERVICE_TYPE = "stella"
"""Type of the service in Keystone's catalogue and in the header ``OpenStack-API-Version``.

The endpoint is the API's root, without ``/v1``.
"""

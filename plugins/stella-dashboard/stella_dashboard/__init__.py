"""Stella in Horizon. It knows Stella through its REST API alone, and adds panels, actions and a tab."""

SERVICE_TYPE = "stella"
"""Type of the service in Keystone's catalogue; its endpoint is the API's root, without ``/v1``."""

"""Django's unit tests of the plugin, run inside Horizon's environment by `scripts/test-stella-dashboard.sh`."""

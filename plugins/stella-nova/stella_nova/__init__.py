"""What Nova needs to place instances whose flavor sells an SLO. Only `filter`, `weigher` and `extra_specs` import Nova."""

"""What an SLA comes to, in whole numbers: terms, periods, budgets, exclusions, corrections, credits, and the report of them."""

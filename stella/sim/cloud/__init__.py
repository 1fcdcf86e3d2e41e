"""A cloud at virtual time: a coarse model of many hosts under the real admission, relief and SLA arithmetic."""

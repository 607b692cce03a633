"""Power caps as leases: a device's limit, lowered for a while, goes back whatever becomes of the agent."""

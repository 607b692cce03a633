"""Demand response: OpenADR 3 events read as power limits and prices of a site."""

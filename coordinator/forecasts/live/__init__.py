"""Forecasts that come over the network: carbon services, grid operators, a site's own meter."""

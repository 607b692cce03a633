"""``heliotrope replay``: a local server that answers as the carbon and demand-response services, from trace files."""

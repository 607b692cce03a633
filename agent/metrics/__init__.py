"""What the agent tells Prometheus (docs/metrics.md): read from the other rooms when it is scraped, and only then."""

"""What the coordinator tells Prometheus (docs/metrics.md): events counted as they are committed, the rest read."""

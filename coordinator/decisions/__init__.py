"""Decisions: pure functions from a snapshot of the fleet to a plan. No clock, no input or output (see README.md)."""

"""What ``heliotrope doctor`` looks at: one module per family of checks, each run in a process of its own."""

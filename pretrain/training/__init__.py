"""Training runs: command line, checkpoints, logging, monitoring."""

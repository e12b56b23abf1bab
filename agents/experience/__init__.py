"""What agents learn from: replay, rollouts, recordings."""

"""From an encoder's features to values and policies."""

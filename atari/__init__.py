"""Atari games: their names and scores, environments, recordings, and frames read from these."""

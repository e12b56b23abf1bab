"""Sequences of games, learned one after the other."""

"""Agents that learn to play on top of an encoder, frozen or adapted."""

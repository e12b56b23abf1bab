"""Agents: how they act and what their losses are."""

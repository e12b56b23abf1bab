"""Agents: how they act and what they lose."""

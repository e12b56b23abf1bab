"""Objectives: one file each, what they want of the recordings and what they lose."""

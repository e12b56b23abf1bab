"""Encoders: ViTs and CNNs behind one face, and the folders that hold them."""

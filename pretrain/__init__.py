"""Vision encoders, their folders, and the objectives that pretrain them without rewards."""

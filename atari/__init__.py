"""The games: table, environments, recordings and the frames that are read from them."""

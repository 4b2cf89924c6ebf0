"""Random transformations of a batch."""

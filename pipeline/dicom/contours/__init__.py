"""Contours of every kind as masks on the grids of the images."""

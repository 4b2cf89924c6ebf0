"""Crops as zarr stores: written whole, checked when read, brought into memory."""

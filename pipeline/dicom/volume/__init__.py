"""Chosen series and NIfTI files as volumes."""

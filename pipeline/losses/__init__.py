"""Losses; tensor in, tensor out."""

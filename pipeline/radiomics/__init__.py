"""Handcrafted features."""

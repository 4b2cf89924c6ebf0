"""A bundle applied to new patients."""

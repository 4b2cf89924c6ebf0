"""A study's bundle, and its use on new patients."""

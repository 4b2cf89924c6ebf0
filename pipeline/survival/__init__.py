"""Classical survival models on feature tables."""

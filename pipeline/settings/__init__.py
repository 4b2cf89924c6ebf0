"""One frozen model per section of a study's settings."""

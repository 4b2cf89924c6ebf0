"""Template and rigid alignment."""

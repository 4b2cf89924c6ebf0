"""How well predictions agree with outcomes."""

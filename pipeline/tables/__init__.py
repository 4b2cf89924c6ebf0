"""Column contracts of every file one stage leaves for another."""

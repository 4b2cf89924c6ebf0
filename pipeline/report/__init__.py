"""Figures, tables and pages; fits nothing."""

"""Stored PET values as standardised uptake values."""

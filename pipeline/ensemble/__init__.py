"""Z-scored averages of folds and models."""

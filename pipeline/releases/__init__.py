"""Public releases as they come: a cohort table and a study file from their folders and sheets."""

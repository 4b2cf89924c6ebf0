"""A study as a workflow: its paths, which rule reads which files, and what each rule depends on."""

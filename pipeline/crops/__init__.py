"""Where to cut, one interpolation, and the store."""

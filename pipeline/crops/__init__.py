"""Where to cut, and one interpolation onto the crop grid."""

"""Where a network looks, and whether such maps mean anything."""

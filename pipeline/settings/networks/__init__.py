"""Settings of the networks, a module for each paper."""

"""Random transformations of batches, on the device that trains."""

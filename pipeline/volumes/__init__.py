"""Images with their geometry."""

"""One file per network; tensor in, tensor out."""

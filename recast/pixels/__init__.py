"""Image files to pixels in [-1, 1] and back: read, write, fit the model's grid and undo it, masks."""

"""Making the weights: examples, losses, the loop, and what survives a crash."""

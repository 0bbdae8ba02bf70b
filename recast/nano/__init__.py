"""The embedded default: weights, model card, the command that made them. Data, no code."""

"""Text and images → tokens: what to make, and what to keep."""

"""Streams of ⟨context images, instruction, target⟩: sources, buckets, and a position that can be gone back to."""

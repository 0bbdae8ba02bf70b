"""Noise tokens and context to clean tokens, along a velocity field. Sees tensors only.

Read `path` (the one convention), `sampler`, `transformer`, `layers`; `schedule` and `guidance` are short.
"""

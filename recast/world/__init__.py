"""A procedural world where the truth is known: scenes as plain data, drawn, edited, described and measured.

`scene` (what is in a picture) → `draw` (→ pixels, layers, masks) → `edits` (scene → scene', what must not change) →
`words` (→ instructions and descriptions) → `measure` (pixels → what is in the picture).
"""

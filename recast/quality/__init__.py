"""Is it good? Suites of items, systems under test, scores with their intervals, and the page that shows them.

`features` (pictures → vectors and findings) → `metrics` (→ numbers) → `edits` (did it change what was asked,
and keep the rest) → `run` (suite × system → records) → `report` (records → table and page).
"""

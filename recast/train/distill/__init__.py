"""From many evaluations to few: students of a frozen teacher, each trained by a stage of its own."""

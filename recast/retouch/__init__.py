"""Is the rest untouched? An edit by any editor, laid over its source so that what was not asked for keeps its bytes."""

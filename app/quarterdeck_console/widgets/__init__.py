"""Generic widgets: they know rows, lines and keys, and nothing of models."""

"""Models and their versions: what was made, from what, and how good it is."""

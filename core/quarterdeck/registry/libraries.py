"""The libraries that models are made with, imported before anybody waits for them."""

from __future__ import annotations

from importlib import import_module

# What nearly every model needs. skops looks for each of SciPy's functions in all modules there are by then, to know it
# by its name: it takes a second less while those are few.
PRELOADED = ("scipy.special", "skops.io", "pandas", "sklearn.pipeline", "sklearn.compose", "sklearn.linear_model")


def preload() -> None:
    """Import what nearly every model needs. It takes seconds, and the less the fewer modules were imported before."""
    for name in PRELOADED:
        import_module(name)

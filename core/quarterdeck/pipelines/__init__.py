"""Pipelines: how versions are made. What a user's pipeline module imports is here."""

from __future__ import annotations

# Imported at once, not on first use: `step` and `pipeline` are also names of modules of this package,
# and whichever is bound later wins.
from quarterdeck.pipelines.pipeline import pipeline, register
from quarterdeck.pipelines.step import command_step, step
from quarterdeck.pipelines.tracking import log_metric, log_params

__all__ = ["command_step", "log_metric", "log_params", "pipeline", "register", "step"]

"""Why a model failed on a request: its input where that explains it, else the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from quarterdeck.errors import QuarterdeckError
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.protocol import ParsedRequest
from quarterdeck.serving.runtime import Answering

LARGEST_SURE = 1e30
"""Models compute in float32 or square what they get: beyond this an error is the number's fault."""
log = logging.getLogger("quarterdeck.gateway")


class ModelFailedError(QuarterdeckError):
    """The model raised an error on an input that fits its signature."""


def explained(model: Answering, request: ParsedRequest, error: Exception) -> QuarterdeckError:
    """What to tell the client: the likely cause in its input where there is one, else that the model failed."""
    for feature in model.signature.features:
        values = request.columns[feature.name]
        large = _large(values) if feature.kind == "numeric" else None
        if large is not None:
            return BadInput(
                f"Column '{feature.name}' has {large:g}, and version {model.version} cannot answer to that. Its "
                f"computing overflows; send numbers up to {LARGEST_SURE:g}."
            )
    for feature in model.signature.features:
        values = request.columns[feature.name]
        if not feature.nullable and None in values:
            return BadInput(
                f"Column '{feature.name}' is null in row {values.index(None)}. It never was in training, and "
                f"version {model.version} cannot answer without it."
            )
        if feature.categories is not None:
            for row, value in enumerate(values):
                if value is not None and str(value) not in feature.categories:
                    return BadInput(
                        f"Column '{feature.name}' has {value!r} in row {row}, which version {model.version} cannot "
                        f"take. Seen in training: {', '.join(feature.categories)}."
                    )
    log.error("version %s of model %s failed", model.version, model.model, exc_info=error)
    first_line = str(error).strip().partition("\n")[0]
    return ModelFailedError(
        f"Version {model.version} of model {model.model} failed: {type(error).__name__}: {first_line}"
    )


def _large(values: Sequence[Any]) -> float | None:
    return next((value for value in values if value is not None and abs(value) > LARGEST_SURE), None)

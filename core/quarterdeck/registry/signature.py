"""A signature: what a model takes and what it answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

FeatureType = Literal["number", "integer", "text", "boolean"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column."""

    name: str
    type: FeatureType
    nullable: bool
    """Missing values were seen in training."""
    categories: tuple[str, ...] | None = None
    """For text and boolean columns with few values: the values seen in training, sorted."""

    @property
    def kind(self) -> Literal["numeric", "categorical"]:
        """How monitors compare it."""
        return "numeric" if self.type in ("number", "integer") else "categorical"


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs in order, and the answer."""

    features: tuple[Feature, ...]
    target: str | None
    """Name of the column that is predicted."""
    classes: tuple[str | int | bool, ...] | None
    """For classifiers the possible answers, in the order of the probabilities."""
    time: str | None = None
    """An input that is no feature: the event time of the row."""
    key: str | None = None
    """An input that is no feature: the user's own key of the row."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def positive(self) -> str | int | bool | None:
        """The class that ranking metrics call positive: the last of two."""
        return self.classes[1] if self.classes is not None and len(self.classes) == 2 else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Signature:
        features = tuple(
            Feature(**{**feature, "categories": _tuple_or_none(feature["categories"])}) for feature in data["features"]
        )
        return cls(**{**data, "features": features, "classes": _tuple_or_none(data["classes"])})


def _tuple_or_none(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)

"""XGBoost and LightGBM boosters in their own files, where those libraries are installed: one thread for a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ArtifactError, UsageError
from quarterdeck.registry.answers import Predictions, Predictor
from quarterdeck.registry.inputs import inputs_frame
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_BINARY = ("binary:logistic", "binary:logitraw", "binary:hinge", "binary")
_SEVERAL = ("multi:softprob", "multi:softmax", "multiclass", "multiclassova")


class XgboostBooster:
    """An XGBoost booster of JSON or UBJ."""

    library = "xgboost"

    def __init__(self, content: bytes) -> None:
        """Load it, for one thread.

        Raises:
            UsageError: XGBoost is not installed.
            ArtifactError: these bytes are no booster that this XGBoost can load, or one with categories.
        """
        require(self.library)
        import xgboost

        self._booster = xgboost.Booster({"nthread": 1})
        try:
            self._booster.load_model(bytearray(content))
            learner = json.loads(self._booster.save_config())["learner"]
        except (xgboost.core.XGBoostError, ValueError, KeyError) as error:
            raise ArtifactError(f"This is not an XGBoost model that can be loaded: {_said(error)}.") from error
        self.objective: str = learner["objective"]["name"]
        names = self._booster.feature_names
        self.names: list[str] | None = None if names is None else list(names)
        self.width = int(self._booster.num_features())
        self.classes = _class_count(self.objective, int(learner["learner_model_param"]["num_class"]))
        self.texts: list[list[str]] = []
        if "c" in (self._booster.feature_types or ()):
            raise ArtifactError(
                "This XGBoost model has categories, whose codes only the program that made it knows. Serve it by a "
                "function of yours: --entry module:predict."
            )
        best = self._booster.attr("best_iteration")
        # As its own classifiers and regressors answer after early stopping.
        self._rounds = (0, 0) if best is None else (0, int(best) + 1)

    def scores(self, table: NDArray[np.float64] | pd.DataFrame) -> NDArray[np.float64]:
        """(n,) numbers or probabilities of the second class, or (n, classes)."""
        import numpy as np

        margin = self.objective in ("multi:softmax", "binary:logitraw")
        kind = "margin" if margin else "value"
        found = self._booster.inplace_predict(
            table, iteration_range=self._rounds, predict_type=kind, validate_features=False
        )
        answers = np.asarray(found, dtype=np.float64)
        if self.objective == "multi:softprob":
            return np.asarray(answers / answers.sum(axis=1, keepdims=True))  # They are float32, and sum up to nearly 1.
        if not margin:
            return answers
        if self.objective == "binary:logitraw":
            return np.asarray(1.0 / (1.0 + np.exp(-answers)))
        powers = np.exp(answers - answers.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class LightgbmBooster:
    """A LightGBM booster of text."""

    library = "lightgbm"

    def __init__(self, content: bytes) -> None:
        """Load it.

        Raises:
            UsageError: LightGBM is not installed.
            ArtifactError: these bytes are no booster that this LightGBM can load.
        """
        require(self.library)
        _refuse_incomplete(content)
        import lightgbm

        try:
            self._booster = lightgbm.Booster(model_str=content.decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise ArtifactError(f"This is not a LightGBM model that can be loaded: {_said(error)}.") from error
        self.objective: str = str(self._booster.dump_model(num_iteration=1).get("objective", "")).partition(" ")[0]
        names = [str(name) for name in self._booster.feature_name()]
        nameless = names == [f"Column_{number}" for number in range(len(names))]
        self.names: list[str] | None = None if nameless else names
        self.width = len(names)
        self.classes = _class_count(self.objective, self._booster.num_model_per_iteration())
        self.texts: list[list[str]] = self._booster.pandas_categorical or []
        """The categories of each feature that was a pandas category in training, in their order."""

    def scores(self, table: NDArray[np.float64] | pd.DataFrame) -> NDArray[np.float64]:
        """(n,) numbers or probabilities of the second class, or (n, classes)."""
        import numpy as np

        return np.asarray(self._booster.predict(table, num_threads=1), dtype=np.float64)


def _refuse_incomplete(content: bytes) -> None:
    """Hold a text of LightGBM to what it says of its own parts: beyond the end of it the library reads what is there.

    Raises:
        ArtifactError: a tree is not where its sizes say, or the end is not there.
    """
    head, found, rest = content.partition(b"\ntree_sizes=")
    sizes, _, trees = rest.partition(b"\n\n")
    place = 0
    for size in sizes.split():
        found = found if size.isdigit() and trees.startswith(b"Tree=", place) else b""
        if not found:
            break
        place += int(size)
    if not (found and head.startswith(b"tree\n") and trees.startswith(b"end of trees", place)):
        raise ArtifactError("This is not a LightGBM model that can be loaded: it is damaged, or no text of LightGBM.")
    if b"\nend of parameters" not in trees[place:]:
        raise ArtifactError("This is not a LightGBM model that can be loaded: it ends early.")


class _BoosterPredictor(Predictor):
    """A booster that answers as the signature says."""

    def __init__(self, booster: XgboostBooster | LightgbmBooster, signature: Signature, task: Task) -> None:
        import numpy as np

        texts = [feature.name for feature in signature.features if feature.type == "text"]
        if len(texts) != len(booster.texts):
            raise ArtifactError(
                f"The {booster.library} model takes {len(booster.texts)} columns of text, and the signature has "
                f"{len(texts)}: {', '.join(texts) or 'none'}. Encode them as the training did, or serve it by a "
                "function of yours: --entry module:predict."
            )
        self._booster, self._signature = booster, signature
        self._categories = dict(zip(texts, booster.texts, strict=True))
        self._classes = None if task is Task.REGRESSION else np.array(signature.classes)

    def predict(self, frame: pd.DataFrame) -> Predictions:
        import numpy as np

        if not self._categories:
            return self._read(self._booster.scores(frame.to_numpy(dtype=np.float64)))
        return self._read(self._booster.scores(self._encoded(frame)))

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Predictions:
        import numpy as np

        if self._categories:
            return self.predict(inputs_frame(self._signature, columns))
        # None is NaN in an array of numbers, and that is how both have a missing value.
        table = np.array([columns[name] for name in self._signature.names], dtype=np.float64).T
        return self._read(self._booster.scores(np.ascontiguousarray(table)))

    def _encoded(self, frame: pd.DataFrame) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        # A category that training never saw has no code, and is missing then, as LightGBM has it.
        encoded: dict[str, Any] = {}
        for name in self._signature.names:
            kept, column = self._categories.get(name), frame[name]
            if kept is None:
                encoded[name] = column.to_numpy(dtype=np.float64)
            else:
                encoded[name] = pd.Categorical(column.where(column.isin(kept)), kept)
        return pd.DataFrame(encoded)

    def _read(self, scores: NDArray[np.float64]) -> Predictions:
        import numpy as np

        if self._classes is None:
            return Predictions(scores.reshape(-1), None)
        shares = scores if scores.ndim == 2 and scores.shape[1] > 1 else np.column_stack([1.0 - scores, scores])
        return Predictions(self._classes[shares.argmax(axis=1)], shares)


class XgboostPredictor(_BoosterPredictor):
    """An XGBoost booster."""

    runtime = "xgboost"

    def __init__(self, content: bytes, signature: Signature, task: Task) -> None:
        super().__init__(XgboostBooster(content), signature, task)


class LightgbmPredictor(_BoosterPredictor):
    """A LightGBM booster."""

    runtime = "lightgbm"

    def __init__(self, content: bytes, signature: Signature, task: Task) -> None:
        super().__init__(LightgbmBooster(content), signature, task)


def require(library: str) -> None:
    """See that the library is there.

    Raises:
        UsageError: it is not; the message names the extra that installs it.
    """
    if find_spec(library) is None:
        raise UsageError(
            f"{library} is not installed, and this model needs it: pip install 'quarterdeck[{library}]', where the "
            "gateway runs."
        )


def _class_count(objective: str, outputs: int) -> int | None:
    """How many classes a booster of this objective tells apart; None where it answers numbers."""
    if objective in _BINARY:
        return 2
    return outputs if objective in _SEVERAL else None


def _said(error: Exception) -> str:
    """What a C++ library's error says, without where in its sources that was and the stack."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first.rpartition("cc:")[2].partition(" ")[2].rstrip(".") or first.rstrip(".")

"""Estimators in the artifact store, by skops: they are loaded without running anything that they contain."""

from __future__ import annotations

import warnings
from typing import Any

from quarterdeck.errors import ArtifactError, RefusedError
from quarterdeck.workspace import Workspace

# Beside what skops trusts by itself. Classes only, each by its full name: functions and functools.partial can be
# made to call anything, so they are never on this list.
TRUSTED = frozenset(
    {
        "numpy.dtype",
        "scipy.interpolate._bsplines.BSpline",
        "sklearn._loss.link.HalfLogitLink",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.AbsoluteError",
        "sklearn._loss.loss.ExponentialLoss",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfGammaLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn._loss.loss.HuberLoss",
        "sklearn._loss.loss.PinballLoss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.model_selection._split.TimeSeriesSplit",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
    }
)


def store_estimator(workspace: Workspace, estimator: Any) -> str:
    """Store a fitted scikit-learn estimator and return its digest. The bytes differ from one dump to the next.

    Raises:
        RefusedError: it holds something that could not be loaded again safely; the message names the types.
    """
    import skops.io

    name = type(estimator).__name__
    try:
        content = skops.io.dumps(estimator)
    except Exception as error:  # skops raises what the object's own methods raise
        raise RefusedError(f"A {name} cannot be stored by skops: {error}. Return a scikit-learn estimator.") from error
    _check_types(content, f"The {name}")
    return workspace.artifacts.put(content)


def load_estimator(workspace: Workspace, digest: str) -> Any:
    """The estimator that was stored under `digest`.

    Raises:
        ArtifactError: it is missing or damaged.
        RefusedError: it holds types that are not trusted; the message names them.
    """
    return read_estimator(workspace.artifacts.read(digest), f"Artifact {digest[:12]}")[0]


def read_estimator(content: bytes, what: str) -> tuple[Any, list[str]]:
    """The estimator in the bytes of a .skops file, and what its libraries warned of. `what` names it in messages.

    Raises:
        ArtifactError: they are not such a file, or a damaged one.
        RefusedError: it holds types that are not trusted; the message names them.
    """
    import skops.io

    trusted = _check_types(content, what)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator = skops.io.loads(content, trusted=trusted)
    except Exception as error:  # whatever a damaged file makes of the classes' constructors
        raise _damaged(what, error) from error
    return estimator, list(dict.fromkeys(_first_line(warning.message) for warning in caught))


def _check_types(content: bytes, what: str) -> list[str]:
    """The types in `content` that only our list trusts; refuses those that nobody does."""
    import skops.io

    try:
        found: list[str] = skops.io.get_untrusted_types(data=content)
    except Exception as error:  # as above
        raise _damaged(what, error) from error
    refused = sorted(set(found) - TRUSTED)
    if refused:
        raise RefusedError(
            f"{what} holds types that Quarterdeck does not trust: {', '.join(refused)}. Build the model from "
            "scikit-learn's own classes, without functions or classes of your own, or convert it to ONNX."
        )
    return sorted(set(found))


def _damaged(what: str, error: Exception) -> ArtifactError:
    return ArtifactError(f"{what} is not a skops file that can be loaded: {_first_line(error)}. Store it again.")


def _first_line(message: object) -> str:
    return (str(message).strip().splitlines() or [type(message).__name__])[0]

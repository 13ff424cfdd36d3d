"""The far side of a model in a process of its own: loads it, and answers rows over a socket.

This file is run as a script by the Python of that environment, which need not have Quarterdeck: it uses the standard
library alone, of Python 3.8 or newer. Messages are JSON, each after its length in four bytes. The process ends with
whoever holds the other end of the socket, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import pickle
import platform
import re
import select
import signal
import socket
import struct
import sys
import threading
import traceback
import warnings
from importlib.metadata import PackageNotFoundError, version
from typing import Any

LENGTH = struct.Struct(">I")
PACKAGES = (
    "numpy", "pandas", "scikit-learn", "scipy", "joblib", "cloudpickle", "mlflow", "mlflow-skinny", "torch", "xgboost",
    "lightgbm",
)  # fmt: skip
SET_PARENT_DEATH_SIGNAL = 1
KILLED_FIRST = "500"
"""Of 1,000: when memory runs out, the kernel ends this process before the one that answers for every model."""


def send(connection: socket.socket, message: object) -> None:
    """Send one message (JSON)."""
    body = json.dumps(message).encode()
    connection.sendall(LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket) -> Any:
    """The next message; EOFError when there is no other end any more."""
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
    return json.loads(_exactly(connection, length))


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def end_with_parent(connection: socket.socket) -> None:
    """End this process when the thread that started it ends, or when the other end of `connection` is closed."""
    with contextlib.suppress(OSError, AttributeError):  # not every system has it; the socket is enough
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(KILLED_FIRST)
    threading.Thread(target=_end_when_closed, args=(connection.fileno(),), daemon=True).start()


def _end_when_closed(handle: int) -> None:
    poller = select.poll()
    # No POLLIN: what arrives is for the other thread. A hang-up is reported without being asked for.
    poller.register(handle, getattr(select, "POLLRDHUP", 0))
    poller.poll()
    os._exit(0)


class Model:
    """Something with predict, and how it wants its input."""

    def __init__(self, what: str, predict: Any, predict_proba: Any = None) -> None:
        self.what = what
        self.predict = predict
        self.predict_proba = predict_proba
        self.classes: Any = None
        self.features: list[str] | None = None
        """Names of its columns, where it knows them."""
        self.width: int | None = None
        self.task: str | None = None
        """`classification`, `regression`, or None where nothing says so."""
        self.types: dict[str, Any] = {}
        """For each column the NumPy type that it insists on."""
        self.shapes = [True]
        """Whether it takes a frame with names; both are tried where that is not known."""


def load(path: str, kind: str, entry: str) -> Model:
    """The model in `path`: `kind` is pickle, mlflow or entry."""
    if kind == "entry":
        return _entry(path, entry)
    if kind == "mlflow":
        return _mlflow(path)
    return _estimator(_unpickled(path))


def _unpickled(path: str) -> Any:
    if importlib.util.find_spec("joblib") is not None:
        import joblib

        return joblib.load(path)
    with open(path, "rb") as file:
        return pickle.load(file)


def _estimator(found: Any) -> Model:
    if not callable(getattr(found, "predict", None)):
        raise TypeError(f"it holds a {type(found).__name__}, which has no predict()")
    names = getattr(found, "feature_names_in_", None)
    model = Model(type(found).__name__, found.predict, getattr(found, "predict_proba", None))
    model.classes = _classes(found)
    model.features = None if names is None else [str(name) for name in names]
    model.width = getattr(found, "n_features_in_", None)
    model.task = {"classifier": "classification", "regressor": "regression"}.get(_kind(found) or "")
    # One that was fitted on an array complains of names, unless it is older than names are.
    model.shapes = [True] if names is not None else [False, True]
    return model


def _kind(found: Any) -> str | None:
    """`classifier` or `regressor`, as scikit-learn says it, older and newer."""
    kind = getattr(found, "_estimator_type", None)
    if kind is None:
        with contextlib.suppress(Exception):
            from sklearn.base import is_classifier, is_regressor

            kind = "classifier" if is_classifier(found) else "regressor" if is_regressor(found) else None
    return "classifier" if kind is None and hasattr(found, "predict_proba") else kind


def _classes(found: Any) -> Any:
    classes = getattr(found, "classes_", None)
    return None if classes is None else plain(classes)


def _mlflow(folder: str) -> Model:
    with open(os.path.join(folder, "MLmodel"), encoding="utf-8") as file:
        text = file.read()
    pickled = re.search(r"^  sklearn:$(?:\n    .*)*?\n    pickled_model: *(\S+)", text, flags=re.MULTILINE)
    if importlib.util.find_spec("mlflow") is None:
        if pickled is None:
            raise ModuleNotFoundError("it is no pickled scikit-learn model, so its environment needs mlflow")
        sys.path[:0] = [os.path.join(folder, "code")]
        return _estimator(_cloudpickled(os.path.join(folder, pickled.group(1).strip("'\""))))
    if pickled is not None:
        import mlflow.sklearn

        # The scikit-learn model itself has probabilities and classes, which the general form hides.
        return _estimator(mlflow.sklearn.load_model(folder))
    import mlflow.pyfunc

    return _general(mlflow.pyfunc.load_model(folder))


def _cloudpickled(path: str) -> Any:
    with open(path, "rb") as file:
        if importlib.util.find_spec("cloudpickle") is not None:
            import cloudpickle

            return cloudpickle.load(file)
        return pickle.load(file)


def _general(found: Any) -> Model:
    """MLflow's own form of any model, which holds its input to the types of its schema."""
    schema = found.metadata.get_input_schema()
    names = schema.input_names() if schema is not None and schema.has_input_names() else None
    model = Model("MLflow model", found.predict)
    if names is not None:
        model.features = names
        model.types = dict(zip(names, schema.pandas_types()))
    return model


def _entry(folder: str, entry: str) -> Model:
    sys.path.insert(0, folder)
    module_name, _, name = entry.partition(":")
    module = importlib.import_module(module_name)
    found = module
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found) or hasattr(found, "predict"):
        return _estimator(found)
    if name != "predict":
        return Model(entry, found)
    # What stands beside a function of that name belongs to it.
    classes = getattr(module, "classes", None)
    model = Model(entry, found, getattr(module, "predict_proba", None))
    model.classes = None if classes is None else plain(classes)
    return model


class Inputs:
    """Makes what the model takes from columns of plain values."""

    def __init__(self, features: list[tuple[str, str]], model: Model) -> None:
        self.features = features
        """For each its name and type: number, integer, text or boolean."""
        self.types = model.types
        self.pandas = importlib.util.find_spec("pandas") is not None
        self.numpy = importlib.util.find_spec("numpy") is not None
        if self.pandas:
            importlib.import_module("pandas")  # The first request should not have to wait for it.

    def make(self, columns: list[list[Any]], named: bool) -> Any:
        """A pandas frame; an array where `named` is false; a list of dictionaries where there is no such library."""
        if not self.numpy or (named and not self.pandas):
            names = [name for name, _ in self.features]
            return [dict(zip(names, row)) for row in zip(*columns)]
        arrays = [self._array(kind, values) for (_, kind), values in zip(self.features, columns)]
        if not named:
            return self._table(arrays)
        import pandas

        frame = pandas.DataFrame({name: array for (name, _), array in zip(self.features, arrays)})
        for name, wanted in self.types.items():
            if name in frame.columns and frame[name].notna().all():
                frame[name] = frame[name].astype(wanted)
        return frame

    @staticmethod
    def _array(kind: str, values: list[Any]) -> Any:
        import numpy

        complete = None not in values
        if kind in ("number", "integer"):
            return numpy.array(values, dtype="int64" if kind == "integer" and complete else "float64")
        if kind == "boolean" and complete:
            return numpy.array(values, dtype=bool)
        array = numpy.empty(len(values), dtype=object)
        # As pandas reads a table: a missing text is NaN.
        array[:] = [float("nan") if value is None else value for value in values]
        return array

    @staticmethod
    def _table(arrays: list[Any]) -> Any:
        import numpy

        if any(array.dtype == object for array in arrays):
            arrays = [array.astype(object) for array in arrays]
        return numpy.column_stack(arrays)


def answer(model: Model, inputs: Inputs, columns: list[list[Any]]) -> dict[str, Any]:
    """The answers to rows: values, and probabilities where the model has them."""
    rows = len(columns[0]) if columns else 0
    for named in list(model.shapes):
        try:
            given = inputs.make(columns, named)
            values = _one_for_each(model.predict(given), rows)
        except Exception:
            if named == model.shapes[-1]:
                raise
        else:
            model.shapes = [named]
            break
    probabilities = None
    if model.predict_proba is not None:
        probabilities = _one_for_each(model.predict_proba(given), rows)
        if any(not isinstance(row, list) for row in probabilities):
            probabilities = [[1.0 - row, row] for row in probabilities]
    elif values and isinstance(values[0], list):
        values, probabilities = _most_probable(model, values)
    return {"values": values, "probabilities": probabilities}


def _most_probable(model: Model, shares: list[Any]) -> tuple[list[Any], list[Any]]:
    """Rows of several numbers are probabilities, and the classes are numbers where nothing names them."""
    if model.classes is None:
        model.classes = list(range(len(shares[0])))
    return [model.classes[row.index(max(row))] for row in shares], shares


def _one_for_each(answers: Any, rows: int) -> list[Any]:
    found = plain(answers)
    if not isinstance(found, list) or len(found) != rows:
        count = len(found) if isinstance(found, list) else "no list of"
        raise ValueError(f"it gave {count} answers for {rows} rows")
    return [row[0] if isinstance(row, list) and len(row) == 1 else row for row in found]


def plain(value: Any) -> Any:
    """`value` (an array, a series, a frame, a tensor, a list) as lists of what JSON has; None for NaN."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        raise TypeError("it answered a dictionary, and not a value for each row")
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and value != value else value


def described(model: Model, told: list[str]) -> dict[str, Any]:
    """What is known of a loaded model, for whoever adopts it."""
    packages = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            packages[package] = version(package)
    return {
        "what": model.what,
        "task": model.task,
        "classes": model.classes,
        "features": model.features,
        "width": model.width,
        "probabilities": model.predict_proba is not None,
        "packages": packages,
        "warnings": told,
    }


class Host:
    """Does what the other end asks for, one thing after another."""

    model: Model
    inputs: Inputs

    def load(self, path: str, kind: str, entry: str) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.model = load(path, kind, entry)
        told = [str(warning.message).strip().split("\n")[0] for warning in caught]
        return described(self.model, list(dict.fromkeys(told)))

    def take(self, features: list[tuple[str, str]]) -> dict[str, Any]:
        self.inputs = Inputs(features, self.model)
        return {}

    def predict(self, columns: list[list[Any]]) -> dict[str, Any]:
        found = answer(self.model, self.inputs, columns)
        return {"classes": self.model.classes, **found}


def main() -> None:
    """Serve the socket whose number is the first argument, until its other end is closed."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    end_with_parent(connection)
    host = Host()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            message = receive(connection)
            try:
                reply = getattr(host, message.pop("do"))(**message)
            except Exception as error:
                traceback.print_exc()
                lines = str(error).strip().split("\n")
                reply = {"error": type(error).__name__, "message": lines[0]}
            try:
                send(connection, reply)
            except TypeError as error:  # an answer that JSON does not have
                send(connection, {"error": "TypeError", "message": str(error)})
    os._exit(0)


if __name__ == "__main__":
    main()

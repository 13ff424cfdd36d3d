"""Models that are ready: loaded once for each artifact, warmed before they serve, and asked in one thread.

Those in a process of their own are asked in a thread of their own: while one is slow, the others answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec

from quarterdeck.registry.hosted import HostedPredictor
from quarterdeck.registry.predictor import Predictor, load_predictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import HOSTED, ModelVersion
from quarterdeck.serving.trial import keep_trial, try_once
from quarterdeck.workspace import Workspace

WARMING_REQUESTS = 10
AT_ONCE_SECONDS = 0.0002
"""Two changes of threads take about as long; the event loop may be held for so long, and no longer."""
LINGER_SECONDS = 30.0


class Answering(Protocol):
    """What can be asked: a loaded version, or what stands in for one."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def signature(self) -> Signature: ...
    @property
    def row_seconds(self) -> float: ...
    @property
    def lane(self) -> Lane | None:
        """Who asks it, where it is not asked at once; None for the thread that models share."""

    def predict(self, columns: dict[str, list[Any]]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version, ready to answer."""

    key: str
    """What identifies it in memory: its artifact and how it is called."""
    model: str
    version: int
    platform: str
    signature: Signature
    example: dict[str, Any]
    """One row of real input, by column name."""
    predictor: Predictor
    lane: Lane
    """Who asks it, where it is not asked at once."""
    row_seconds: float = math.inf
    """How long it takes for one row, as measured when it was warmed; endless where it must never be asked at once."""

    def predict(self, columns: dict[str, list[Any]]) -> Answer:
        """The answers to one request's rows, as plain values."""
        predictions = self.predictor.predict_columns(columns)
        probabilities = predictions.probabilities
        return Answer(predictions.values.tolist(), None if probabilities is None else probabilities.tolist())


class Answer(msgspec.Struct, frozen=True):
    """What a model answered, row by row."""

    values: list[Any]
    probabilities: list[list[float]] | None


class Lane:
    """A thread that asks models, and how many requests wait for it."""

    __slots__ = ("thread", "waiting")

    def __init__(self, name: str) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.waiting = 0


class Busy(Exception):
    """More requests wait for an answer than the gateway takes on."""


class Runtime:
    """The loaded models of one gateway worker."""

    def __init__(self, workspace: Workspace, *, capacity: int, queue_limit: int) -> None:
        """`capacity`: models kept, beside those that are protected; `queue_limit`: requests that may wait in a lane."""
        self._workspace = workspace
        self._capacity = capacity
        self._queue_limit = queue_limit
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._guard = threading.Lock()
        # One thread: numpy and scikit-learn hold the interpreter for most of a small request, so more would only wait.
        self._inference = Lane("inference")

    @property
    def waiting(self) -> int:
        """Requests that wait for a model's turn, or are in it."""
        lanes = {self._inference, *(model.lane for model in list(self._models.values()))}
        return sum(lane.waiting for lane in lanes)

    def load(self, model: str, version: ModelVersion) -> LoadedModel:
        """The version, loaded and warmed with its own input example. Slow the first time: keep it off the event loop.

        Raises:
            TrialFailedError: it was loaded for the first time on this machine, in another process, and failed there.
            QuarterdeckError: its artifact is missing, damaged or not trusted.
            Exception: whatever the model raises on its own example.
        """
        loaded = self.held(model, version)
        if loaded is None:
            if version.format not in HOSTED:
                try_once(self._workspace, model, version)
            loaded = bring_up(self._workspace, model, version, self._inference)
            if isinstance(loaded.predictor, HostedPredictor):
                keep_trial(self._workspace, version, loaded.predictor.memory())
            self._keep(loaded)
        return loaded

    def held(self, model: str, version: ModelVersion) -> LoadedModel | None:
        """The version if it is loaded, at once; None if it would have to be loaded first."""
        loaded = self._models.get(memory_key(version))
        if loaded is None:
            return None
        if (loaded.model, loaded.version) != (model, version.number):
            # The same artifact under another number: it is warm, and only what is said of it differs.
            example = _example(loaded.signature, version)
            loaded = replace(loaded, model=model, version=version.number, platform=str(version.format), example=example)
        self._keep(loaded)
        return loaded

    def holds(self, version: ModelVersion) -> bool:
        """Whether the version is loaded."""
        return memory_key(version) in self._models

    def _keep(self, loaded: LoadedModel) -> None:
        with self._guard:
            self._models[loaded.key] = loaded
            self._models.move_to_end(loaded.key)

    def evict(self, protected: Collection[str]) -> None:
        """Forget the models that were needed longest ago, down to the capacity; never a protected one."""
        with self._guard:
            for key in list(self._models):
                if len(self._models) <= self._capacity:
                    break
                if key not in protected:
                    self._let_go(self._models.pop(key))

    def _let_go(self, loaded: LoadedModel) -> None:
        """Close it in a while: a request may have chosen it a moment ago, and others wait for its answers."""
        closing = threading.Timer(LINGER_SECONDS, self._close, (loaded,))
        closing.daemon = True
        closing.start()

    def _close(self, loaded: LoadedModel) -> None:
        # Its process first: a request that hangs there would hold up the end of the thread.
        loaded.predictor.close()
        if loaded.lane is not self._inference:
            loaded.lane.thread.shutdown()

    async def predict(self, model: Answering, columns: dict[str, list[Any]], rows: int) -> Answer:
        """Ask `model`: at once where that takes less than going to another thread, else in the inference thread.

        Raises:
            Busy: too many requests are waiting already.
            ModelDownError: its process is not there, or did not answer in time.
            Exception: whatever the model raises.
        """
        if rows * model.row_seconds <= AT_ONCE_SECONDS:
            return model.predict(columns)
        lane = model.lane or self._inference
        if lane.waiting >= self._queue_limit:
            raise Busy
        lane.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(lane.thread, model.predict, columns)
        finally:
            lane.waiting -= 1

    def close(self) -> None:
        """Answer what waits for models in memory, and end the threads and the models' processes."""
        self._inference.thread.shutdown()
        with self._guard:
            loaded = list(self._models.values())
            self._models.clear()
        for model in loaded:
            self._close(model)


def memory_key(version: ModelVersion) -> str:
    """What identifies a version in memory."""
    # The same artifact with another signature answers to other columns; in another environment it is another process.
    place = f"{version.artifact}:{json.dumps(version.signature, sort_keys=True)}"
    return place if version.python is None else f"{place}:{version.python}:{version.entry}"


def bring_up(workspace: Workspace, model: str, version: ModelVersion, shared: Lane) -> LoadedModel:
    """The version, loaded and warmed. A model in a process of its own gets a lane of its own, the others are `shared`.

    Raises:
        Exception: as `Runtime.load`.
    """
    signature = Signature.from_dict(version.signature)
    predictor = load_predictor(workspace, version)
    hosted = isinstance(predictor, HostedPredictor)
    loaded = LoadedModel(
        memory_key(version),
        model,
        version.number,
        str(version.format),
        signature,
        _example(signature, version),
        predictor,
        Lane(f"{model}@{version.number}") if hosted else shared,
    )
    try:
        seconds = min(_warm(loaded) for _ in range(WARMING_REQUESTS))
    except BaseException:
        predictor.close()
        raise
    return loaded if hosted else replace(loaded, row_seconds=seconds)


def _warm(loaded: LoadedModel) -> float:
    """Seconds that an answer to its own example takes."""
    columns = {name: [loaded.example[name]] for name in loaded.signature.names}
    started = time.perf_counter()
    loaded.predict(columns)
    return time.perf_counter() - started


def _example(signature: Signature, version: ModelVersion) -> dict[str, Any]:
    row = version.example[0] if version.example else {}
    return {name: row.get(name) for name in signature.names}

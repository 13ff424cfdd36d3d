"""A model in a process of its own, as a predictor like the others: kept running, and asked with a deadline."""

from __future__ import annotations

import builtins
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import QuarterdeckError
from quarterdeck.registry import model_host
from quarterdeck.registry.answers import Predictions, Predictor
from quarterdeck.registry.isolation import IsolatedProcess
from quarterdeck.registry.packing import note_use
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Format, Task

if TYPE_CHECKING:
    import pandas as pd

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
LOOK_SECONDS = 1.0
log = logging.getLogger("quarterdeck.model")


class ModelDownError(QuarterdeckError):
    """The model's own process does not run now; it is being started again. Try again in a moment."""


class ModelTimeoutError(ModelDownError):
    """The model's own process did not answer in time and was killed; it is being started again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs, and where."""

    name: str
    """What messages and the log call it: `fraud@3`."""
    python: str
    """The interpreter of its environment."""
    path: Path
    """The file, or the folder."""
    format: Format
    entry: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What it may take, as `[models.NAME]` says."""

    load: float
    """Seconds for starting and loading it."""
    request: float
    """Seconds for one request."""
    memory: int | None
    """Bytes."""


class HostedPredictor(Predictor):
    """Starts the process and keeps it running until `close`. May be called by several threads; they take turns."""

    runtime = "process"

    def __init__(self, plan: Plan, limits: Limits) -> None:
        """Start and load it. Before it can be asked it has to be told what it takes: `take`.

        Raises:
            ModelDownError: it cannot be started or loaded; the message says why.
        """
        self._plan, self._limits = plan, limits
        self._folder = plan.path if plan.path.is_dir() else None
        self._features: list[tuple[str, str]] = []
        self._task = Task.REGRESSION
        self._process: IsolatedProcess | None = None
        """The one that can be asked."""
        self._newest: IsolatedProcess | None = None
        self._why = "it was not started"
        self.described: dict[str, Any] = {}
        """What the host found out about the model: `model_host.described`."""
        self._tried, self._closed = threading.Event(), threading.Event()
        # One thread starts all of its processes and lives as long as this does: a process ends with that thread.
        self._keeper = threading.Thread(target=self._keep, name=f"model {plan.name}", daemon=True)
        self._keeper.start()
        self._tried.wait()
        if self._process is None:
            raise ModelDownError(f"{plan.name} cannot be loaded in its own process: {self._why}.")

    def take(self, signature: Signature, task: Task) -> None:
        """Say which columns it gets from now on."""
        self._features = [(feature.name, feature.type) for feature in signature.features]
        self._task = task
        self._ask({"do": "take", "features": self._features})

    def predict(self, frame: pd.DataFrame) -> Predictions:
        columns = {str(name): frame[name].tolist() for name in frame.columns}
        return self.predict_columns({name: [_plain(value) for value in values] for name, values in columns.items()})

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Predictions:
        """As `Predictor`.

        Raises:
            ModelTimeoutError: it took too long, and was killed.
            ModelDownError: its process has died, or is being started.
            Exception: what the model raised, as the built-in exception of that name where there is one.
        """
        import numpy as np

        reply = self._ask({"do": "predict", "columns": [columns[name] for name, _ in self._features]})
        shares = reply["probabilities"]
        if self._task is Task.REGRESSION:
            numbers = np.array(reply["values"], dtype=np.float64)
            if not np.isfinite(numbers).all():
                raise ValueError("it answered with what is no number")
            return Predictions(numbers, None)
        # Only what the model itself calls its classes: others were taken from the answers to a sample.
        known = reply.get("classes")
        strangers = [value for value in reply["values"] if known and value not in known]
        if strangers:
            said = ", ".join(map(str, known))
            raise ValueError(f"it answered {str(strangers[0])[:100]!r}, which is none of its classes ({said})")
        return Predictions(np.array(reply["values"]), None if shares is None else np.array(shares, dtype=np.float64))

    def answered(self, frame: pd.DataFrame) -> dict[str, Any]:
        """The host's raw reply to these rows: for whoever has yet to find out what the model answers."""
        columns = [[_plain(value) for value in frame[name].tolist()] for name, _ in self._features]
        reply: dict[str, Any] = self._ask({"do": "predict", "columns": columns})
        return reply

    def memory(self) -> int:
        """Bytes that its process uses now; 0 while there is none."""
        process = self._process
        return 0 if process is None else process.memory()

    def close(self) -> None:
        """End the process for good."""
        self._closed.set()
        if (process := self._newest) is not None:
            process.kill("it is needed no more")
        self._keeper.join()

    def _ask(self, message: dict[str, Any]) -> Any:
        process, name = self._process, self._plan.name
        if process is None:
            raise ModelDownError(f"The process of {name} is being started again: {self._why}. Try again in a moment.")
        try:
            reply = process.ask(message, self._limits.request)
        except TimeoutError:
            why = f"it did not answer within {self._limits.request:g} s"
            process.kill(why)
            raise ModelTimeoutError(f"The process of {name} was killed: {why}. It is being started again.") from None
        except (EOFError, OSError, ValueError) as error:
            raise ModelDownError(
                f"The process of {name} died while it answered: {process.end()}. It is being started again."
            ) from error
        if "error" in reply:
            raise _raised(reply["error"], reply["message"])
        return reply

    def _keep(self) -> None:
        """Start the process, and start it again when it ends: sooner at first, later when that goes on."""
        delay = FIRST_DELAY_SECONDS
        while not self._closed.is_set():
            started = time.monotonic()
            process = self._start()
            first = not self._tried.is_set()
            self._process = process
            self._tried.set()
            if process is not None:
                self._watch(process)
                if self._folder is not None:
                    note_use(self._folder)
                self._process, self._why = None, process.close()
            elif first:
                return
            if self._closed.is_set():
                return
            if time.monotonic() - started >= STEADY_SECONDS:
                delay = FIRST_DELAY_SECONDS
            log.error("the process of %s: %s; it is started again in %g s", self._plan.name, self._why, delay)
            self._closed.wait(delay)
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)

    def _start(self) -> IsolatedProcess | None:
        """A process that has loaded the model; None where that failed, for the reason in `_why`."""
        plan = self._plan
        # -I: neither the folder of the host's file nor variables for our Python decide what it imports.
        command = [plan.python, "-I", "-B", model_host.__file__]
        folder = self._folder
        if folder is not None:
            note_use(folder)
        try:
            process = IsolatedProcess(command, plan.name, folder=folder, memory=self._limits.memory)
        except OSError as error:
            self._why = f"{plan.python} cannot be started: {error.strerror}"
            return None
        self._newest = process
        if self._closed.is_set():
            process.kill("it is needed no more")
        failure = self._load(process)
        if failure is None:
            return process
        self._why = failure
        process.close()
        return None

    def _load(self, process: IsolatedProcess) -> str | None:
        """Let the process load the model; why it cannot, where that is so."""
        plan = self._plan
        message = {"do": "load", "path": str(plan.path), "kind": str(plan.format), "entry": plan.entry or ""}
        try:
            described = process.ask(message, self._limits.load)
            if "error" in described:
                return f"{described['error']}: {described['message'].rstrip('.')}"
            self.described = described
            if self._features:
                process.ask({"do": "take", "features": self._features}, self._limits.request)
        except TimeoutError:
            return process.end(f"it did not load within {self._limits.load:g} s")
        except (EOFError, OSError, ValueError):
            return process.end()
        return None

    def _watch(self, process: IsolatedProcess) -> None:
        """Wait for its end, and bring it about when it takes too much memory."""
        pause = None if self._limits.memory is None else LOOK_SECONDS
        while not process.wait(pause):
            process.hold_to_limit()


def _raised(name: str, message: str) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind is not Exception:
        try:
            return kind(message)
        except TypeError:  # some take more than a message
            pass
    return RuntimeError(f"{name}: {message}")


def _plain(value: Any) -> Any:
    if value is None or value != value:
        return None
    return value.item() if hasattr(value, "item") else value

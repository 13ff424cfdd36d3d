"""Executing a run, in a job process: the only place where users' pipeline code is imported."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from quarterdeck import lineage
from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.datasets.dataset import Dataset
from quarterdeck.datasets.frames import load_frame
from quarterdeck.errors import FencedError, QuarterdeckError
from quarterdeck.pipelines import commands, outputs, provenance
from quarterdeck.pipelines.candidacy import make_run_candidate
from quarterdeck.pipelines.ending import fail, requeue
from quarterdeck.pipelines.loading import describe, load_pipeline, print_user_traceback
from quarterdeck.pipelines.measuring import Usage
from quarterdeck.pipelines.pipeline import Pipeline
from quarterdeck.pipelines.run import ENDED, Metric, RunState, RunStep, StepState, find_run
from quarterdeck.pipelines.step import AnyStep, CommandStep, step_settings
from quarterdeck.pipelines.termination import Terminated, raising_on_sigterm
from quarterdeck.pipelines.tracking import Tracker
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import GateVerdict
from quarterdeck.workspace import Workspace

Fence = Callable[[Session], None]


def execute(workspace: Workspace, run_id: int, *, fence: Fence) -> None:
    """Run the steps of a queued run and record what came of it; on success the run has registered its version.

    A run that fails is an outcome, not an error: it is recorded, and this returns. A run that has ended already is
    left alone, and one that an earlier attempt left half-done begins anew.

    Args:
        fence: called in every transaction of this attempt; it raises once the attempt was given up.

    Raises:
        FencedError: another attempt may have this run: nothing more is written.
        SystemExit: SIGTERM came; what was logged is written, and the run is left to the runner.
    """
    seed = _start(workspace, run_id, fence)
    if seed is None:
        return
    try:
        with (
            raising_on_sigterm(),
            _working_folder(workspace, run_id) as folder,
            Tracker(workspace, run_id, fence) as tracker,
        ):
            _Execution(workspace, run_id, fence, tracker, folder, seed).go()
    except Terminated as signalled:
        raise SystemExit(signalled.exit_status) from None
    except FencedError:
        raise
    except Exception as error:
        # Anything else than our own errors is ours to mend, or the disk's: the log keeps where it came from.
        if not isinstance(error, QuarterdeckError):
            traceback.print_exc()
        reason = workspace.masked(str(error) if isinstance(error, QuarterdeckError) else describe(error))
        _say(f"run {run_id} failed: {reason}")
        with workspace.state.write("fail run", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            fence(tx)
            fail(tx, workspace, run_id, reason)


class StepFailedError(QuarterdeckError):
    """A step failed."""


@contextlib.contextmanager
def _working_folder(workspace: Workspace, run_id: int) -> Iterator[Path]:
    """Where commands of this run read and write; what an attempt that was killed left there goes first."""
    folder = workspace.folder / "work" / f"run-{run_id}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(workspace: Workspace, run_id: int, fence: Fence) -> int | None:
    """Begin, or begin anew, and return the seed; None when the run has ended already."""
    with workspace.state.write("start run") as tx:
        fence(tx)
        run = find_run(tx, run_id)
        if run.state in ENDED:
            return None
        # An attempt whose process died leaves the run as it was.
        requeue(tx, workspace, run_id)
        run.move(RunState.RUNNING, workspace.now())
        for table in (Metric, RunStep):
            tx.connection().execute(delete(table).where(col(table.run_id) == run_id))
        tx.add(run)
        workspace.record(tx, "run.started", run.reference, {"pipeline": run.pipeline})
        return run.seed


class _Execution:
    """One attempt at one run."""

    def __init__(
        self, workspace: Workspace, run_id: int, fence: Fence, tracker: Tracker, folder: Path, seed: int
    ) -> None:
        self.workspace = workspace
        self.run_id = run_id
        self.fence = fence
        self.tracker = tracker
        self.folder = folder
        self.seed = seed
        self.values: dict[str, Any] = {}
        """What steps returned and datasets hold, by name."""
        self.stored: dict[str, outputs.Stored] = {}
        """The same, in the artifact store."""

    def go(self) -> None:
        with self.workspace.state.read() as tx:
            run = find_run(tx, self.run_id)
            datasets = set(tx.exec(select(Dataset.name)))
        pipeline = load_pipeline(self.workspace, run.pipeline)
        pipeline.check(run.parameters, datasets)
        inputs = self._read_datasets(pipeline)
        self._plan(pipeline, run.parameters, inputs)
        for step in pipeline.order():
            self._run_step(step, step_settings(step, run.parameters))
        candidate = None
        if pipeline.registers is not None:
            candidate = make_run_candidate(
                self.workspace, pipeline, self.values, self.tracker.latest, sources=[run.reference], seed=self.seed
            )
        self.tracker.flush()
        self._finish(candidate)

    def _read_datasets(self, pipeline: Pipeline) -> dict[str, str]:
        """Load the newest version of each dataset, and return `NAME@NUMBER` for each."""
        inputs = {}
        for name in pipeline.datasets():
            version, frame = load_frame(self.workspace, name)
            self.values[name] = frame
            self.stored[name] = outputs.Stored(version.artifact, outputs.PARQUET)
            inputs[name] = f"{name}@{version.number}"
        return inputs

    def _plan(self, pipeline: Pipeline, parameters: Mapping[str, Any], inputs: dict[str, str]) -> None:
        """Record what is about to run, from what, before anything runs."""
        source = self.workspace.artifacts.put(pipeline.source.encode())
        git, environment = provenance.git_state(self.workspace), provenance.environment()
        with self._transaction("plan run") as tx:
            run = find_run(tx, self.run_id)
            run.graph, run.inputs, run.source = pipeline.graph(), inputs, source
            run.git, run.environment = git, environment
            tx.add(run)
            for version in inputs.values():
                lineage.connect(tx, f"data/{version}", run.reference)
            for position, step in enumerate(pipeline.order()):
                tx.add(
                    RunStep(
                        run_id=self.run_id,
                        name=step.name,
                        position=position,
                        state=StepState.PENDING,
                        parameters=outputs.as_plain(step_settings(step, parameters)),
                    )
                )

    def _run_step(self, step: AnyStep, settings: dict[str, Any]) -> None:
        self.tracker.parameters = {}
        with self._transaction("start step") as tx:
            row = self._step_row(tx, step)
            row.state, row.started_at = StepState.RUNNING, self.workspace.now()
            tx.add(row)
        _say(f"step {step.name} started")
        usage = Usage()
        try:
            with usage.measured():
                value = self._call(step, settings, usage)
            self.values[step.name] = value
            self.stored[step.name] = self._store(value)
        except FencedError:
            raise
        except QuarterdeckError as error:
            said = str(error) if isinstance(error, StepFailedError) else f"step {step.name}: {error}"
            reason = self.workspace.masked(said)
            self._close_step(step, settings, usage, StepState.FAILED, reason)
            raise StepFailedError(reason) from error
        self._close_step(step, settings, usage, StepState.SUCCEEDED, None)
        _say(f"step {step.name} finished in {usage.wall_seconds:.1f} s")

    def _call(self, step: AnyStep, settings: dict[str, Any], usage: Usage) -> Any:
        """What the step returns.

        Raises:
            StepFailedError: its function raised; the traceback, from the user's code on, is in the log.
        """
        if isinstance(step, CommandStep):
            inputs = {name: self.stored[name] for name in step.inputs}
            output = commands.run_command(self.workspace, step, inputs, self.folder / step.name)
            usage.add_child(output.cpu_seconds, output.peak_memory_bytes)
            commands.take_up(output, self.tracker)
            return output
        self._seed()
        try:
            return step.function(**{name: self._value(name) for name in step.inputs}, **settings)
        except FencedError:
            raise
        except (Exception, SystemExit) as error:
            print_user_traceback(error)
            raise StepFailedError(f"step {step.name}: {describe(error)}") from error

    def _value(self, name: str) -> Any:
        """A step's input. Tables are copies: one step that changes its input must not change another's."""
        import pandas as pd

        value = self.values[name]
        if isinstance(value, pd.DataFrame):
            return value.copy()
        return value.folder if isinstance(value, commands.CommandOutput) else value

    def _store(self, value: Any) -> outputs.Stored:
        if isinstance(value, commands.CommandOutput):
            return outputs.store_folder(self.workspace, value.folder)
        return outputs.store(self.workspace, value)

    def _seed(self) -> None:
        # Before each step, so that a step draws the same numbers whatever ran before it.
        import numpy as np

        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)

    def _close_step(
        self, step: AnyStep, settings: dict[str, Any], usage: Usage, state: StepState, error: str | None
    ) -> None:
        self.tracker.flush()
        with self._transaction("end step") as tx:
            row = self._step_row(tx, step)
            row.state, row.finished_at, row.error = state, self.workspace.now(), error
            row.parameters = outputs.as_plain({**settings, **self.tracker.parameters})
            row.wall_seconds, row.cpu_seconds = usage.wall_seconds, usage.cpu_seconds
            row.peak_memory_bytes = usage.peak_memory_bytes
            if step.name in self.stored:
                row.output, row.output_type = self.stored[step.name].digest, self.stored[step.name].type
            tx.add(row)

    def _finish(self, candidate: Candidate | None) -> None:
        """The end of a run, whole or not at all: its metrics, its version, its state and the event."""
        now = self.workspace.now()
        with self._transaction("finish run") as tx:
            run = find_run(tx, self.run_id)
            state = RunState.SUCCEEDED
            data: dict[str, Any] = {"version": None, "gate": str(GateVerdict.NONE), "metrics": {}}
            if candidate is not None:
                version = register(tx, self.workspace, candidate, actor=run.requested_by, run_id=self.run_id)
                run.version = f"{candidate.model}@{version.number}"
                for name, value in candidate.metrics.items():
                    if name not in self.tracker.latest:
                        tx.add(Metric(run_id=self.run_id, name=name, value=value, at=now))
                if version.gate is GateVerdict.FAILED:
                    state = RunState.HELD
                data = {"version": run.version, "gate": str(version.gate), "metrics": candidate.metrics}
            run.move(state, now)
            tx.add(run)
            told = {"pipeline": run.pipeline, "source": run.source, "commit": run.git.get("commit"), **data}
            self.workspace.record(tx, f"run.{state}", run.reference, told)
        registered = f", registered {data['version']} (gate: {data['gate']})" if data["version"] else ""
        _say(f"run {self.run_id} {state}{registered}")

    def _step_row(self, tx: Session, step: AnyStep) -> RunStep:
        return tx.exec(select(RunStep).where(RunStep.run_id == self.run_id, RunStep.name == step.name)).one()

    @contextlib.contextmanager
    def _transaction(self, verb: str) -> Iterator[Session]:
        """A write transaction of this attempt.

        Raises:
            FencedError: the attempt was given up.
        """
        with self.workspace.state.write(verb, patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            self.fence(tx)
            yield tx


def _say(line: str) -> None:
    """A line for the run's log, in order with what the user's code prints."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

"""What happens inside a job process: its own session, its own log, one job, and out."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sqlmodel import Session

from quarterdeck import logs, processes
from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.errors import FencedError, QuarterdeckError
from quarterdeck.pipelines.run import ENDED, find_run
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.narration import say
from quarterdeck.runner.outcome import end_attempt
from quarterdeck.workspace import Workspace

OpenWorkspace = Callable[[Path], Workspace]
Fence = Callable[[Session], None]
PRELOAD = "quarterdeck.runner.preload"
JOB_LOGS = "jobs"
MARK = "QUARTERDECK_JOB"
"""The environment variable by which what a job has started is known: the workspace's folder, the job, the attempt."""
REST_SECONDS = 2.0
"""How long what a job leaves running may take to die; then the runner goes on with it."""
NOT_BEGUN = 75
"""Exit status of a job process that could not open the workspace or note that it runs: EX_TEMPFAIL in sysexits(3)."""


def check_preload() -> NoReturn:
    """The fork server's first child: ends with 0 when it inherited what it should, with the reason on stderr when not.

    The server swallows import errors of its preload, and every job would then import for seconds.
    """
    if PRELOAD in sys.modules:
        os._exit(0)
    try:
        __import__(PRELOAD)
        say("fork server", f"{PRELOAD} was not imported, for no reason that shows later.")
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)


def work(root: Path, open_workspace: OpenWorkspace, job_id: int, attempt: int) -> NoReturn:
    """Do one attempt of one job. Never returns: idle executors of user code would keep the process alive."""
    os.setsid()
    processes.adopt_orphans()
    signal.signal(signal.SIGTERM, _stop)
    code = NOT_BEGUN
    try:
        workspace = _begin(root, open_workspace, job_id, attempt)
        code = 1
        code = _do(workspace, job_id, attempt)
    except QuarterdeckError as error:
        say("job", f"job {job_id}: {error}")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)
    raise AssertionError("unreachable")


def log_of(job_id: int, attempt: int) -> Path:
    """Where an attempt writes, relative to the workspace's folder of logs."""
    return Path(JOB_LOGS) / f"{job_id}-{attempt}.log"


def _begin(root: Path, open_workspace: OpenWorkspace, job_id: int, attempt: int) -> Workspace:
    workspace = open_workspace(root)
    os.environ[MARK] = f"{workspace.folder}:{job_id}-{attempt}"
    log = log_of(job_id, attempt)
    logs.set_aside(workspace.logs / log)
    _redirect_output(workspace, workspace.logs / log)
    queue.record_process(workspace, job_id, attempt, processes.here(), str(log))
    return workspace


def _do(workspace: Workspace, job_id: int, attempt: int) -> int:
    with workspace.state.read() as tx:
        job = tx.get_one(Job, job_id)
    say(
        "quarterdeck",
        f"job {job_id} ({job.subject}), attempt {attempt} of {job.max_attempts}, process {os.getpid()}",
    )
    error: str | None = None
    try:
        dispatch(workspace, job, queue.fence_for(job_id, attempt))
    except FencedError:
        raise
    except QuarterdeckError as problem:
        error = str(problem)
        say("error", error, level="ERROR")
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        traceback.print_exc()
    sys.stdout.flush()
    state = _finish(workspace, job_id, attempt, None if error is None else workspace.masked(error))
    return 0 if state is JobState.SUCCEEDED else 1


def dispatch(workspace: Workspace, job: Job, fence: Fence) -> None:
    """Hand the job to the room that knows how to do it."""
    payload = job.payload
    match job.kind:
        case JobKind.RUN:
            with workspace.state.read() as tx:
                done = find_run(tx, payload["run"]).state in ENDED
            if not done:  # An attempt that was killed after its last commit has nothing left to do.
                from quarterdeck.pipelines.execution import execute

                execute(workspace, payload["run"], fence=fence)
        case JobKind.MONITOR:
            from quarterdeck.monitoring.evaluation import evaluate

            evaluate(workspace, payload["monitor"], fence=fence).raise_for_troubles()
        case JobKind.REPORT:
            from quarterdeck.monitoring.reporting import make_report

            make_report(workspace, payload["alert"], fence=fence)
        case JobKind.NOTIFY:
            from quarterdeck.monitoring.notification import tell

            tell(workspace, job.key, payload["webhook"])
        case JobKind.REPLAY:
            from quarterdeck.deployments.replaying import replay

            replay(workspace, payload["replay"], fence=fence)
        case JobKind.BACKTEST:
            from quarterdeck.deployments.backtesting import make_backtest

            make_backtest(workspace, payload["backtest"], fence=fence)
        case JobKind.HOUSEKEEPING:
            from quarterdeck.runner.housekeeping import Task, keep_house

            keep_house(workspace, Task(payload["task"]), fence)
        case JobKind.ROLLBACK:
            from quarterdeck.deployments.commanding import roll_back_elsewhere

            roll_back_elsewhere(workspace, payload["operation"], fence=fence)
        case JobKind.PROBE:
            from quarterdeck.deployments.probing import probe

            probe(workspace, payload["deployment"], fence=fence)
        case JobKind.SCORE:
            from quarterdeck.deployments.scoring import score_again_whole, score_scheduled

            if payload.get("again"):
                score_again_whole(workspace, payload["deployment"], fence=fence)
                return
            score_scheduled(workspace, payload["deployment"], payload["input"], payload["output"], fence=fence)
        case JobKind.KPI:
            from quarterdeck.monitoring.fetching import fetch

            deployment, _, name = payload["kpi"].partition("/")
            fetch(workspace, deployment, name, fence=fence)


def _finish(workspace: Workspace, job_id: int, attempt: int, error: str | None) -> JobState:
    """Write how the attempt ended: the job, and the run that it is about, in one transaction."""
    with workspace.state.write("finish job", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        job = queue.own(tx, job_id, attempt)
        job.cpu_seconds = _cpu_seconds()
        end_attempt(tx, workspace, job, error)
        return job.state


def _cpu_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _redirect_output(workspace: Workspace, log: Path) -> None:
    # Straight to the file, never through a pipe: what was written is there even if everybody is killed.
    settings = workspace.settings.logs
    logs.take_over(log, secrets=logs.secrets_of(settings.mask), max_bytes=settings.max_bytes)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # Raised in the main thread, so that buffers of the user's code and of tracking are flushed on the way out.
    raise SystemExit(128 + number)


def _end_the_rest() -> None:
    """Kill what the job has started and left running: all of it is below this process."""
    me = processes.here()
    deadline = time.monotonic() + REST_SECONDS
    while time.monotonic() < deadline:
        rest = [pid for pid in processes.group_members(me.pid, me.started, me.boot_id, below=True) if pid != me.pid]
        if not rest:
            return
        for pid in rest:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _leave(code: int) -> NoReturn:
    try:
        executors = sys.modules.get("joblib.externals.loky.reusable_executor")
        executor = getattr(executors, "_executor", None)
        if executor is not None:
            executor.shutdown(wait=False, kill_workers=True)
        logs.drain()
        _end_the_rest()
    finally:
        os._exit(code)

"""Rollback under load: how long from the wish to the proof, and what the requests that arrive meanwhile get."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.deck import COLUMNS, DEPLOYMENT, Deck, running_deck, settled
from bench.load import Answer
from bench.rows import REPOSITORY, Budget, Row, percentile
from quarterdeck.deployments import queries, rollout
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.rows import OperationRow

RATE = 200.0
ROUNDS = 10
"""A rollback and its undo, each."""
BETWEEN_SECONDS = 0.4
"""Load between two operations: some 80 requests that only the new revision may answer."""
TOLERANCE = 1e-5
"""To which a graph that serves for an estimator has to agree with it; the versions differ by far more."""
NOTHING = Budget("at most", 0)


@dataclass(frozen=True, slots=True)
class Change:
    """One operation, in seconds since the epoch."""

    revision: int
    version: int
    planned: float
    verified: float


def measure() -> list[Row]:
    """With one gateway worker and with two."""
    return [row for workers in (1, 2) for row in _measure(workers)]


def _measure(workers: int) -> list[Row]:
    with running_deck(workers=workers) as deck:
        before = queries.operations(deck.workspace)[0]
        with load(deck) as answers:
            operations = [before, *operate(deck)]
    return report(f"{workers} worker{'s' * (workers > 1)}", operations, answers, deck.answers)


def operate(deck: Deck) -> Iterator[OperationRow]:
    """Roll back to version 1 and undo that, again and again, while requests arrive."""
    time.sleep(2 * BETWEEN_SECONDS)
    for _ in range(ROUNDS):
        yield settled(deck.workspace, rollout.roll_back(deck.workspace, DEPLOYMENT, to=1, reason="bench"))
        time.sleep(BETWEEN_SECONDS)
        yield settled(deck.workspace, rollout.undo(deck.workspace, DEPLOYMENT, reason="bench"))
        time.sleep(BETWEEN_SECONDS)


@contextmanager
def load(deck: Deck) -> Iterator[list[Answer]]:
    """Requests from another process while the block runs; the list is filled when it ends."""
    answers: list[Answer] = []
    bodies, out = deck.workspace.root / "bodies.json", deck.workspace.root / "answers.jsonl"
    requests = [body_of(deck.inputs, row) for row in range(len(deck.inputs))]
    bodies.write_text(json.dumps(requests), encoding="utf-8")
    place = [str(deck.port), f"/v2/models/{DEPLOYMENT}/infer", str(RATE), str(bodies), str(out)]
    command = [sys.executable, "-m", "bench.load", *place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError("the load generator did not start")
            yield answers
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    answers += read_answers(out)


def body_of(frame: pd.DataFrame, row: int) -> dict[str, Any]:
    """One row as a request of the Open Inference Protocol."""
    return {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [float(frame[name].iloc[row])]} for name in COLUMNS
        ]
    }


def read_answers(path: Path) -> list[Answer]:
    return [Answer(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def report(
    case: str,
    operations: Sequence[OperationRow],
    answers: Sequence[Answer],
    expected: Mapping[int, NDArray[np.float64]],
) -> list[Row]:
    """The rows of one run; the first operation is what served before the load began."""
    measured = operations[1:]
    times = [operation.milliseconds for operation in measured if operation.milliseconds is not None]
    unproved = sum(operation.state is not OperationState.VERIFIED for operation in measured)
    failed = [answer for answer in answers if answer.status != 200]
    astray = misrouted(answers, [change for operation in operations if (change := change_of(operation))])
    wrong = differing(answers, expected)
    waits = [(answer.answered - answer.due) * 1000 for answer in answers]
    seconds = max(answer.due for answer in answers) - min(answer.due for answer in answers)
    kinds = Counter(f"version {a.version}" if a.status == 200 else f"status {a.status}" for a in answers)
    sent = f"{len(answers)} requests: {', '.join(f'{kind} {count}' for kind, count in sorted(kinds.items()))}"

    def row(what: str, ours: float | None, unit: str, budget: Budget | None = None, note: str = "") -> Row:
        return Row("rollback", f"{what}, {case}", ours, unit, budget, note=note)

    return [
        row("verified p50", percentile(times, 0.5) if times else None, "ms", note=f"{len(measured)} operations"),
        row("verified p99", percentile(times, 0.99) if times else None, "ms", Budget("under", 250)),
        row("not verified", unproved, "", NOTHING),
        row("failed requests", len(failed), "", NOTHING, sent),
        row("misrouted", len(astray), "", NOTHING),
        row("other output than the named version's", len(wrong), "", NOTHING),
        row("load", len(answers) / seconds, "/s", Budget("at least", RATE * 0.98)),
        row("answered p50", percentile(waits, 0.5), "ms", note="from the moment that a request was due"),
        row("answered p99", percentile(waits, 0.99), "ms"),
    ]


def change_of(operation: OperationRow) -> Change | None:
    """The operation's part in routing; None when it was never verified, after which nothing is promised."""
    if operation.verified_at is None:
        return None
    return Change(
        operation.to_revision, operation.version, operation.planned_at.timestamp(), operation.verified_at.timestamp()
    )


def misrouted(answers: Sequence[Answer], changes: Sequence[Change]) -> list[Answer]:
    """Answers of a revision that no longer served, or did not yet.

    A request may be answered by the revision that was verified last when it was sent, and by any that was wanted
    before it was answered.
    """
    return [
        answer
        for answer in answers
        if answer.status == 200 and (answer.revision, answer.version) not in _allowed(answer, changes)
    ]


def _allowed(answer: Answer, changes: Sequence[Change]) -> set[tuple[int | None, int | None]]:
    verified = [number for number, change in enumerate(changes) if change.verified < answer.sent]
    newest = max(verified, default=0)
    return {(change.revision, change.version) for change in changes[newest:] if change.planned < answer.answered}


def differing(answers: Sequence[Answer], expected: Mapping[int, NDArray[np.float64]]) -> list[Answer]:
    """Answers that the version they name does not give for that input."""

    def agrees(answer: Answer) -> bool:
        if answer.version is None or answer.version not in expected or answer.probabilities is None:
            return False
        own, given = expected[answer.version][answer.input], answer.probabilities
        return len(own) == len(given) and bool(np.allclose(own, given, rtol=0, atol=TOLERANCE))

    return [answer for answer in answers if answer.status == 200 and not agrees(answer)]

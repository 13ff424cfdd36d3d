"""What computes a version's answers, in the words that panes show."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.registry.agreement import Agreement
from quarterdeck.registry.queries import version
from quarterdeck.registry.version import Format, ModelVersion
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import add_version

AGREED = asdict(Agreement(holdout_rows=4_000, other_rows=1_000, probes=60, largest=2.2e-7))
REFUSED = asdict(Agreement(reason="3 of 5060 rows differ by more than 1e-05 (at most by 0.02)"))


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"graph": "ab", "agreement": AGREED}, "ONNX Runtime, agrees with scikit-learn on 5,000 rows within 2e-07"),
        ({"agreement": REFUSED}, "scikit-learn: 3 of 5060 rows differ by more than 1e-05 (at most by 0.02)"),
        ({}, "scikit-learn"),
        ({"format": Format.ONNX}, "ONNX Runtime"),
        ({"format": Format.EXTERNAL}, "a system elsewhere: nothing of it is stored here"),
    ],
)
def test_a_version_says_what_computes_its_answers_and_why(
    workspace: Workspace, stored: dict[str, Any], words: str
) -> None:
    add_version(workspace)
    with workspace.state.write("test") as tx:
        found = tx.exec(select(ModelVersion)).one()
        for name, value in stored.items():
            setattr(found, name, value)
    assert version(workspace, "fraud", 1).runtime == words


@pytest.mark.parametrize("format_", list(Format))
def test_every_format_has_words(workspace: Workspace, format_: Format) -> None:
    add_version(workspace, format_=format_)
    assert version(workspace, "fraud", 1).runtime

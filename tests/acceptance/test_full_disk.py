"""A disk that is full to the last byte: jobs fail cleanly, the gateway serves, and a rollback is written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from quarterdeck import events
from quarterdeck.pipelines.queries import run as read_run
from quarterdeck.pipelines.run import ENDED
from quarterdeck.runner import queries
from quarterdeck.runner.job import JobState
from quarterdeck.traffic.queries import totals
from tests.deck import Deck, serving_deck
from tests.gateways import infer_body
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
WRITE = """\
from pathlib import Path

from quarterdeck.pipelines import pipeline, step

HERE = Path(__file__).parent.parent


@step
def write() -> bytes:
    (HERE / "begun").touch()
    while not (HERE / "full").is_symlink():
        pass
    with (HERE / "result").open("wb") as file:
        for _ in range(64):
            file.write(b"0" * (1 << 20))
    return b""


big = pipeline("big", [write])
"""
SETTINGS = """
[disk]
stop_recording = "24MB"
stop_jobs = "16MB"
reserve = "16MB"
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take the disk's last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    assert shutil.disk_usage(folder).free == 0
    return filler


def test_on_a_full_disk_jobs_fail_the_gateway_serves_and_a_rollback_is_verified(small_disk: Path) -> None:
    with serving_deck(small_disk / "deck", {"big.py": WRITE}, settings=SETTINGS) as deck:
        reserve = deck.workspace.folder / "reserve"
        wait_for(lambda: reserve.exists() and reserve.stat().st_size == 16_000_000, seconds=60, what="the reserve")
        run = deck.json("run", "big", "--detach")["id"]
        wait_for((deck.root / "begun").exists, seconds=60, what="the job to begin")
        filler = fill(small_disk)
        (deck.root / "full").symlink_to("anywhere")  # A link as short as this takes no block of its own.
        the_job_failed_and_says_why(deck, run)
        before = totals(deck.workspace)
        for _ in range(5):
            assert httpx.post(f"{deck.url}/v2/models/fraud/infer", json=infer_body()).status_code == 200
        rolled_back = deck.json("rollback", "fraud", "--to", "1", "--reason", "the disk is full")
        assert rolled_back["state"] == "verified"
        assert not reserve.exists()
        waits = deck.json("run", "big", "--detach")["id"]
        wait_for(lambda: (waiting(deck, waits) or "").startswith("disk low"), seconds=30, what="the job to wait")
        filler.unlink()
        (deck.root / "result").unlink()
        wait_for(lambda: waiting(deck, waits) is None, seconds=60, what="the job to start again")
        wait_for(lambda: totals(deck.workspace).unrecorded - before.unrecorded >= 5, seconds=30, what="the count")
        assert totals(deck.workspace).predictions == before.predictions
        wait_for(reserve.exists, seconds=60, what="the reserve")
        with deck.workspace.state.read() as tx:
            kinds = [event.kind for event in events.newest(tx, 200, "disk")]
            events.verify(tx)
        assert kinds[0] == "disk.recovered"
        assert "disk.low" in kinds


def the_job_failed_and_says_why(deck: Deck, run: int) -> None:
    wait_for(lambda: read_run(deck.workspace, run).state in ENDED, seconds=60, what="the end of the run")
    (job,) = [job for job in queries.jobs(deck.workspace) if job.subject == f"run/{run}"]
    assert job.state == JobState.FAILED
    assert "No space left on device" in (job.error or "")


def waiting(deck: Deck, run: int) -> str | None:
    found = [job for job in queries.jobs(deck.workspace) if job.subject == f"run/{run}"]
    return found[0].waiting if found else "not there yet"

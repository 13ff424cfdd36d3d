"""Which process is meant: identities and groups."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from quarterdeck.processes import ProcessIdentity, group_members, here, identity_of, is_alive, kill_group
from tests.waiting import wait_for

SLEEPING_PAIR = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print('ready', flush=True); time.sleep(60)"
)


@pytest.fixture
def group() -> Iterator[tuple[subprocess.Popen[bytes], ProcessIdentity]]:
    """A process that leads a group of two."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPING_PAIR], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    identity = identity_of(process.pid)
    assert identity is not None
    yield process, identity
    kill_group(identity.pid, identity.started, identity.boot_id)
    process.wait()
    process.stdout.close()


def test_this_process_is_alive_and_its_namesakes_are_not() -> None:
    me = here()
    assert is_alive(me)
    assert not is_alive(dataclasses.replace(me, started=me.started - 1))
    assert not is_alive(dataclasses.replace(me, boot_id="another boot"))


def test_a_process_that_ended_is_not_alive_even_before_it_is_reaped(
    group: tuple[subprocess.Popen[bytes], ProcessIdentity],
) -> None:
    process, identity = group
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(identity))
    assert process.returncode is None  # Nobody has waited for it yet.


def test_members_that_outlive_their_leader_are_found_and_killed(
    group: tuple[subprocess.Popen[bytes], ProcessIdentity],
) -> None:
    process, leader = group
    process.kill()
    process.wait()
    assert len(group_members(leader.pid, leader.started, leader.boot_id)) == 1
    assert kill_group(leader.pid, leader.started, leader.boot_id)
    wait_for(lambda: not group_members(leader.pid, leader.started, leader.boot_id))
    assert not kill_group(leader.pid, leader.started, leader.boot_id)


def test_a_group_whose_number_was_given_away_is_left_alone(
    group: tuple[subprocess.Popen[bytes], ProcessIdentity],
) -> None:
    process, leader = group
    assert not kill_group(leader.pid, leader.started - 5, leader.boot_id)
    assert not kill_group(leader.pid, leader.started, "another boot")
    assert process.poll() is None

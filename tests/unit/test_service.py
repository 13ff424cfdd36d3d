"""The unit that `service install` writes: what systemd reads from it, and what is done with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quarterdeck.errors import ConflictError, NotFoundError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.runner import service as verbs
from quarterdeck.runner.service import Service, Systemd, check_service_name, default_name
from quarterdeck.runner.supervision import only_one

ODD = '50% of "it" \\ $HOME \'ü'
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in *"$FAILS"*) echo "Access denied" >&2; exit 1;; esac
case "$*" in *show*) printf 'ActiveState=active\\nSubState=running\\nMainPID=42\\nStatusText=runner: healthy\\n';; esac
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "w" / ".quarterdeck").mkdir(parents=True)
    return tmp_path / "w"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """systemd's own programs, which only note how they were called."""
    (tmp_path / "bin").mkdir()
    for name in ("systemctl", "loginctl"):
        (tmp_path / "bin" / name).write_text(PROGRAM)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAILS", "nothing fails")
    return tmp_path / "calls"


def systemd(tmp_path: Path, *, user: bool = False) -> Systemd:
    (tmp_path / "booted").mkdir(exist_ok=True)
    return Systemd(user, tmp_path / "booted", tmp_path / "units", tmp_path / "user-units")


def values(text: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)


def test_the_unit_runs_up_as_the_owner_and_restarts_it_unless_it_was_asked_to_stop(workspace: Path) -> None:
    os.chown(workspace / ".quarterdeck", 1, 1)
    found = values(Service("deck", workspace).text())
    assert found["ExecStart"] == f'"{sys.executable}" "-P" "-m" "quarterdeck" "up" "--workspace" "{workspace}"'
    assert found["User"] == "daemon"
    assert (found["Type"], found["Restart"], found["RestartPreventExitStatus"]) == ("notify", "always", "0")
    assert (found["KillMode"], found["TimeoutStopSec"], found["WatchdogSec"]) == ("mixed", "30", "60")
    assert (found["NoNewPrivileges"], found["ProtectSystem"]) == ("yes", "full")
    assert found["WantedBy"] == "multi-user.target"
    own = values(Service("deck", workspace, user=True).text())
    assert "User" not in own
    assert own["WantedBy"] == "default.target"


def test_odd_characters_of_a_path_are_escaped_as_systemd_reads_them(tmp_path: Path) -> None:
    root = tmp_path / ODD
    root.mkdir()
    text = Service("deck", root).text()
    assert f'"{tmp_path}/50%% of \\"it\\" \\\\ $$HOME \'ü"' in values(text)["ExecStart"]
    assert values(text)["RequiresMountsFor"] == f'"{tmp_path}/50%% of \\"it\\" \\\\ $HOME \'ü"'
    with pytest.raises(UsageError, match="plain name"):
        Service("deck", tmp_path / "two\nlines").text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["plain", ODD, "a b%h"])
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    root, python = tmp_path / name, tmp_path / f"{name} bin" / "python"
    root.mkdir()
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    unit = tmp_path / "deck.service"
    unit.write_text(Service("deck", root, python=str(python)).text())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=wrong"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert "kill mode" in done.stderr


def test_names_are_those_that_a_unit_may_have(tmp_path: Path) -> None:
    assert default_name(tmp_path / "fraud models ü") == "quarterdeck-fraud-models"
    assert default_name(Path("/")) == "quarterdeck"
    assert check_service_name("deck.service") == "deck"
    with pytest.raises(UsageError, match="no name for a unit"):
        check_service_name("../deck")


def test_install_enables_and_starts_and_uninstall_takes_it_back(workspace: Path, calls: Path, tmp_path: Path) -> None:
    service, here = Service("deck", workspace), systemd(tmp_path)
    place = verbs.install(service, here)
    assert place == tmp_path / "units" / "deck.service"
    assert place.read_text() == service.text()
    assert verbs.status(service, here)["says"] == "runner: healthy"
    verbs.uninstall(service, here)
    assert not place.exists()
    said = [line.removeprefix("systemctl ") for line in calls.read_text().splitlines()]
    assert said[:3] == ["daemon-reload", "enable deck.service", "restart deck.service"]
    assert said[4:] == ["disable --now deck.service", "daemon-reload"]
    with pytest.raises(NotFoundError, match="service install"):
        verbs.status(service, here)


def test_a_users_own_service_lingers(
    workspace: Path, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = systemd(tmp_path, user=True)
    assert verbs.install(Service("deck", workspace, user=True), here) == tmp_path / "user-units" / "deck.service"
    said = calls.read_text().splitlines()
    assert said[0].startswith("loginctl enable-linger ")
    assert said[1] == "systemctl --user daemon-reload"

    monkeypatch.setenv("FAILS", "enable-linger")
    with pytest.raises(QuarterdeckError, match=r"Access denied.*sudo loginctl enable-linger"):
        verbs.install(Service("deck", workspace, user=True), here)


def test_install_refuses_a_unit_of_another_workspace_and_a_second_supervisor(
    workspace: Path, calls: Path, tmp_path: Path
) -> None:
    here = systemd(tmp_path)
    with only_one(workspace / ".quarterdeck"), pytest.raises(RefusedError, match=f"process {os.getpid()}"):
        verbs.install(Service("deck", workspace), here)
    assert not calls.exists()
    verbs.install(Service("deck", workspace), here)
    verbs.install(Service("deck", workspace), here)
    other = tmp_path / "other"
    other.mkdir()
    for verb in (verbs.install, verbs.uninstall):
        with pytest.raises(ConflictError, match="--name"):
            verb(Service("deck", other), here)


def test_without_systemd_it_says_so(workspace: Path, tmp_path: Path) -> None:
    nowhere = Systemd(False, tmp_path / "not booted", tmp_path / "units")
    for verb in (verbs.install, verbs.uninstall, verbs.status):
        with pytest.raises(QuarterdeckError, match=r"systemd does not run this machine.*--print"):
            verb(Service("deck", workspace), nowhere)
    assert not (tmp_path / "units").exists()

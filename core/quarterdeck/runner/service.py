"""`up` as a systemd service: the unit's text, and putting it in place for the machine or for one user."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.errors import ConflictError, NotFoundError, QuarterdeckError, UsageError
from quarterdeck.runner.supervision import already_supervised, supervising_pid
from quarterdeck.runner.supervisor import STOP_SECONDS

STOP_TIMEOUT_SECONDS = int(3 * STOP_SECONDS)
MARK = "X-Quarterdeck-Workspace="
"""A line of the unit that systemd ignores: which workspace the unit is for."""
COMMAND_SECONDS = 120.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Systemd:
    """The systemd of this machine, for the machine or for the user who calls."""

    user: bool = False
    booted: Path = Path("/run/systemd/system")
    """Is there exactly where systemd runs the machine (sd_booted(3))."""
    system_units: Path = Path("/etc/systemd/system")
    user_units: Path | None = None

    @property
    def units(self) -> Path:
        if not self.user:
            return self.system_units
        home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return self.user_units or Path(home) / "systemd" / "user"

    def require(self) -> None:
        """Raises:
        QuarterdeckError: systemd does not run this machine.
        """
        if not self.booted.is_dir():
            raise QuarterdeckError(
                f"systemd does not run this machine ({self.booted} is not there), as in most containers. "
                "`quarterdeck service install --print` shows the unit for another machine; here, "
                "`quarterdeck up --detach` runs in the background, or give `quarterdeck up` to what manages services."
            )

    def control(self, *arguments: str) -> str:
        """What `systemctl ARGUMENTS` says.

        Raises:
            QuarterdeckError: it failed; the message is its own.
        """
        return run_program("systemctl", *(["--user"] if self.user else []), *arguments)


@dataclass(frozen=True, slots=True)
class Service:
    """The unit of one workspace."""

    name: str
    """Without `.service`."""
    root: Path
    user: bool = False
    python: str = sys.executable

    @property
    def file_name(self) -> str:
        return f"{self.name}.service"

    def text(self) -> str:
        """The whole unit.

        Raises:
            UsageError: a path in it has a line break or another control character, which no unit can hold.
        """
        root, bin_folder = str(self.root), str(Path(self.python).parent)
        # Of an argument systemd takes $ for a variable, of the program it does not; and it takes no program with a
        # quote or a backslash in its name.
        program, *words = [self.python, "-P", "-m", "quarterdeck", "up", "--workspace", root]
        if set(program) & set("\"'\\"):
            program, words = "/usr/bin/env", [program, *words]
        command = " ".join([_quoted(program), *(_quoted(word).replace("$", "$$") for word in words)])
        target = "default.target" if self.user else "multi-user.target"
        lines = [
            "[Unit]",
            f"Description={_escaped(f'Quarterdeck ({root})')}",
            f"RequiresMountsFor={_quoted(root)}",
            *([] if self.user else ["Wants=network-online.target", "After=network-online.target time-sync.target"]),
            "# It tries again for ever, however often it has failed.",
            "StartLimitIntervalSec=0",
            f"{MARK}{_quoted(root)}",
            "",
            "[Service]",
            "Type=notify",
            f"ExecStart={command}",
            *self._identity(),
            'Environment="DO_NOT_TRACK=1"',
            f"Environment={_quoted(f'PATH={bin_folder}:{SYSTEM_PATH}')}",
            "# Status 0: somebody asked it to stop, by `quarterdeck up --stop` for instance.",
            "Restart=always",
            "RestartPreventExitStatus=0",
            "RestartSec=5",
            "# The supervisor stops the rest in order; what is left when it has ended is killed.",
            "KillMode=mixed",
            "# A workspace of an older schema is brought up to date first.",
            "TimeoutStartSec=600",
            f"TimeoutStopSec={STOP_TIMEOUT_SECONDS}",
            "WatchdogSec=60",
            "# A job that runs out of memory is that job's failure alone.",
            "OOMPolicy=continue",
            "UMask=0077",
            "NoNewPrivileges=yes",
            *self._protection(),
            "",
            "[Install]",
            f"WantedBy={target}",
        ]
        return "\n".join(lines) + "\n"

    def _identity(self) -> list[str]:
        """A system service runs as whoever owns the workspace's state."""
        if self.user:
            return []
        state = self.root / ".quarterdeck"
        owner = (state if state.exists() else self.root).stat().st_uid
        try:
            return [f"User={pwd.getpwuid(owner).pw_name}"]
        except KeyError:
            return [f"User={owner}"]

    def _protection(self) -> list[str]:
        # A user's own manager can only do this where the kernel lets users have namespaces.
        return [] if self.user else ["ProtectSystem=full", f"ReadWritePaths={_quoted(str(self.root))}"]


def default_name(root: Path) -> str:
    """What the service of a workspace is called: after its folder, in characters that every unit's name may have."""
    kept = re.sub(r"[^A-Za-z0-9_.]+", "-", root.name).strip("-.")
    return f"quarterdeck-{kept}" if kept else "quarterdeck"


def check_service_name(name: str) -> str:
    """`name` without `.service`.

    Raises:
        UsageError: systemd would not take it.
    """
    plain = name.removesuffix(".service")
    if not re.fullmatch(r"[A-Za-z0-9:_.\\-]{1,200}", plain):
        raise UsageError(f"'{name}' is no name for a unit: use letters, digits and `:_.-`.")
    return plain


def install(service: Service, systemd: Systemd) -> Path:
    """Write the unit, enable it for every start of the machine, and start it. Returns the unit's file.

    Raises:
        RefusedError: an `up` that is not this service's supervises the workspace.
        QuarterdeckError: systemd is not there, or refuses.
        ConflictError: a unit of that name is there, and is not this workspace's.
        UsageError: the folder of units cannot be written.
    """
    systemd.require()
    text, place = service.text(), systemd.units / service.file_name
    _refuse_another(place, service)
    running = supervising_pid(service.root / ".quarterdeck")
    if running is not None and not place.exists():
        raise already_supervised(running)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        os.replace(temporary, place)
    except OSError as error:
        hint = "" if systemd.user else " System units need root: use sudo, or --user for a unit of your own."
        raise UsageError(f"{place} cannot be written: {error.strerror}.{hint}") from error
    if systemd.user:
        linger()
    systemd.control("daemon-reload")
    systemd.control("enable", service.file_name)
    systemd.control("restart", service.file_name)
    return place


def uninstall(service: Service, systemd: Systemd) -> Path:
    """Stop the service and remove its unit. The workspace stays as it is, and so does lingering.

    Raises:
        NotFoundError: there is no such unit.
        ConflictError: it is another workspace's.
        QuarterdeckError: systemd is not there, or refuses.
    """
    systemd.require()
    place = _present(service, systemd)
    _refuse_another(place, service)
    systemd.control("disable", "--now", service.file_name)
    place.unlink()
    systemd.control("daemon-reload")
    return place


def status(service: Service, systemd: Systemd) -> dict[str, str]:
    """What systemd says of the service: `active`, `state`, `enabled`, `pid`, `since`, `says`.

    Raises:
        NotFoundError: there is no such unit.
        QuarterdeckError: systemd is not there.
    """
    systemd.require()
    place = _present(service, systemd)
    keys = {
        "ActiveState": "active",
        "SubState": "state",
        "UnitFileState": "enabled",
        "MainPID": "pid",
        "ActiveEnterTimestamp": "since",
        "StatusText": "says",
    }
    said = systemd.control("show", service.file_name, f"--property={','.join(keys)}")
    values = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
    return {"unit": str(place), **{name: values.get(key, "") for key, name in keys.items()}}


def linger() -> None:
    """Let this user's services run without a session: from the start of the machine, and after the last log-out.

    Raises:
        QuarterdeckError: that was refused; the message says who can do it.
    """
    name = pwd.getpwuid(os.getuid()).pw_name
    try:
        run_program("loginctl", "enable-linger", name)
    except QuarterdeckError as error:
        raise QuarterdeckError(
            f"{error} Without lingering the service would end with your last session. "
            f"Ask for `sudo loginctl enable-linger {name}`, then install again."
        ) from error


def run_program(*words: str) -> str:
    """The output of one of systemd's programs.

    Raises:
        QuarterdeckError: it is not there, or failed; the message is its own.
    """
    # Without a session of the desktop, as after `ssh`, the user's manager is found by this variable alone.
    surroundings = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", **os.environ}
    line = " ".join(words)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, env=surroundings)
    except FileNotFoundError as error:
        raise QuarterdeckError(f"`{line}`: there is no program {words[0]} here.") from error
    except subprocess.TimeoutExpired as error:
        raise QuarterdeckError(f"`{line}` did not end within {COMMAND_SECONDS:g} s.") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").rstrip(".")
        raise QuarterdeckError(f"`{line}` failed: {said}.")
    return done.stdout


def _present(service: Service, systemd: Systemd) -> Path:
    place = systemd.units / service.file_name
    if not place.exists():
        raise NotFoundError(
            f"There is no {place}. `quarterdeck service install` makes it; --user and --name must be as they were then."
        )
    return place


def _refuse_another(place: Path, service: Service) -> None:
    if place.exists() and f"\n{MARK}{_quoted(str(service.root))}\n" not in place.read_text(errors="replace"):
        raise ConflictError(f"{place} is not the unit of {service.root}. Choose another name with --name.")


def _escaped(text: str) -> str:
    """`text` for a place where systemd expands % and nothing else.

    Raises:
        UsageError: it has a control character.
    """
    if not text.isprintable():
        raise UsageError(f"{text!r} cannot stand in a systemd unit. Move the workspace to a folder with a plain name.")
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """`text` as one word."""
    escaped = _escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

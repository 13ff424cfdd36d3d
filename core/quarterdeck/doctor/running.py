"""Whether what should run runs, what runs should, and whether the gateway has its port."""

from __future__ import annotations

import errno
import os
import socket
from urllib.parse import urlsplit

from quarterdeck.doctor.finding import Check, Outcome, Patient, ok, problem, some, warning
from quarterdeck.processes import ProcessIdentity, group_members, is_alive
from quarterdeck.runner.supervision import Health, read_supervision, supervising_pid
from quarterdeck.runner.webhooks import webhook_states


def supervisor(patient: Patient) -> Outcome:
    """Whether `up` runs, and every process under it works."""
    pid, supervision = supervising_pid(patient.folder), read_supervision(patient.folder)
    rows = supervision.processes if supervision is not None else ()
    if pid is None:
        left = [f"{row.name} (process {row.pid})" for row in rows if row.alive]
        if left:
            found = f"`quarterdeck up` was killed, and left {some(left)} running"
            return warning(found, "`quarterdeck up` replaces them; `quarterdeck up --stop` ends them.")
        return warning("`quarterdeck up` does not run", "`quarterdeck up --detach`, or `quarterdeck service install`.")
    bad = [
        f"{row.name} is {row.health}" + (f" ({row.last_end})" if row.last_end else "")
        for row in rows
        if row.health in (Health.DOWN, Health.HUNG, Health.WAITING)
    ]
    if bad:
        advice = f"Its log says why: {patient.folder / 'logs'}. `quarterdeck status` shows how often it was restarted."
        return problem(f"process {pid} supervises, but {some(bad)}", advice)
    return ok(f"process {pid}: " + ", ".join(f"{row.name} {row.health}" for row in rows))


def runner(patient: Patient) -> Outcome:
    """Whether somebody works on the queue."""
    with patient.open("state") as connection:
        row = connection.execute("SELECT pid, process_started, boot_id, lease_until FROM runner_lease").fetchone()
    if row is None:
        return warning("no runner has worked here yet", "`quarterdeck up` starts one.")
    identity = ProcessIdentity(row[0], row[1], row[2])
    if not is_alive(identity):
        return warning(f"no runner lives; the last was process {identity.pid}", "`quarterdeck up` starts one.")
    if row[3] < patient.now.strftime("%Y-%m-%dT%H:%M:%S"):
        found = f"process {identity.pid} lives, and has not renewed its lease since {row[3][:19]}"
        return problem(found, "`quarterdeck up` kills and replaces a runner that hangs; one by itself you must.")
    return ok(f"process {identity.pid} has the lease")


def gateway(patient: Patient) -> Outcome:
    """Whether as many workers answer as the settings say."""
    with patient.open("state") as connection:
        query = "SELECT slot, pid, process_started, boot_id FROM gateway_worker WHERE stopped_at IS NULL"
        rows = connection.execute(query).fetchall()
    alive = [row for row in rows if is_alive(ProcessIdentity(row[1], row[2], row[3]))]
    wanted = patient.settings.gateway.workers
    if not alive:
        return warning("no gateway worker lives: nothing is served", "`quarterdeck up` starts them.")
    if len(alive) < wanted:
        return warning(f"{len(alive)} of {wanted} workers live", "`quarterdeck status`; the logs are gateway-*.log.")
    return ok(f"{len(alive)} of {wanted} workers live")


def groups(patient: Patient) -> Outcome:
    """Processes of jobs that go on though no runner watches them."""
    with patient.open("state") as connection:
        lease = connection.execute("SELECT pid, process_started, boot_id FROM runner_lease").fetchone()
        query = "SELECT id, process_group, process_started, boot_id FROM job WHERE process_group IS NOT NULL"
        recorded = connection.execute(query).fetchall()
    if lease is not None and is_alive(ProcessIdentity(*lease)):
        return ok(f"the runner watches {len(recorded)} jobs' processes")
    left = [
        f"job {job_id} (processes {', '.join(map(str, members))})"
        for job_id, group, started, boot in recorded
        if started is not None and boot and (members := group_members(group, started, boot, below=True))
    ]
    if left:
        found = f"no runner lives, and these go on: {some(left)}"
        return problem(found, "`quarterdeck up` ends them before it starts anything; or kill them by hand.")
    return ok("no job's process lives without a runner")


def port(patient: Patient) -> Outcome:
    """Whether the gateway has its port, or could have it."""
    host, number = patient.settings.gateway.host, patient.settings.gateway.port
    supervision = read_supervision(patient.folder)
    if supervision is not None and supervision.alive:
        has = urlsplit(supervision.url).port
        if number not in (0, has):
            found = f"the gateway has port {has}, and the settings say {number}"
            return warning(found, "The settings changed: stop `up` and start it again.")
        return ok(f"the gateway has it: {supervision.url}")
    if number == 0:
        return ok("any free one is taken")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        left = [row for row in (supervision.processes if supervision else ()) if row.alive and row.name != "runner"]
        if error.errno == errno.EADDRINUSE and left and supervision and urlsplit(supervision.url).port == number:
            return ok(f"{some([row.name for row in left])}, which an `up` that was killed has left running, has it")
        if error.errno == errno.EADDRINUSE:
            advice = f"`ss -ltnp 'sport = :{number}'` names it; end it, or set another `port` under [gateway]."
            return problem(f"another program listens on {host}:{number}", advice)
        return problem(f"{host}:{number} cannot be listened on: {error.strerror}", "Mend [gateway] host and port.")
    return ok(f"{host}:{number} is free")


def webhooks(patient: Patient) -> Outcome:
    """Whether those who are to be told take what they are told."""
    told = patient.settings.notifications.webhooks
    with patient.session("state") as tx:
        rows = webhook_states(tx, told)
    ill = [row for row in rows if row.state.ill]
    if ill:
        since = [f"{row.name} takes nothing since {row.since:%Y-%m-%d %H:%M} UTC" for row in ill]
        return problem(some(since), f"{ill[0].error or ''} {ill[0].advice}.".strip())
    missed = [row for row in rows if row.given_up]
    if missed:
        return warning(
            some([f"{row.name} was not told {row.given_up} things" for row in missed]), f"{missed[0].advice}."
        )
    signed = [one for one in told if one.secret is not None]
    unset = [f"{one.secret} of {one.shown}" for one in signed if not os.environ.get(one.secret or "")]
    if unset:
        return warning(
            f"not set in this environment: {some(unset)}",
            "Where the runner's environment lacks it too they are told nothing: set it there, and start `up` again.",
        )
    return ok(f"{len(rows)} are told" if rows else "nobody is told: there are none")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("supervisor", supervisor),
    ("runner", runner),
    ("gateway", gateway),
    ("processes of jobs", groups),
    ("webhooks", webhooks),
    ("port", port),
)

"""Keeping the rows of schedules equal to quarterdeck.toml, without disturbing those that did not change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlmodel import Session, select

from quarterdeck.pipelines.schedule import Misfire, Overlap, Schedule, Target
from quarterdeck.settings import Settings
from quarterdeck.settings.making import ScheduleSettings
from quarterdeck.workspace import Workspace

MONITOR_PREFIX = "monitor:"
HOUSEKEEPING_PREFIX = "housekeeping:"
PROBE_PREFIX = "probe:"
KPI_PREFIX = "kpi:"
_TIMING = ("cron", "every_seconds", "on_data", "timezone")


def synchronise(workspace: Workspace) -> bool:
    """Bring the schedule rows in line with the settings; True when anything changed.

    Rows that are equal are not touched, so anchors and ticks stand. A schedule whose timing changed, or that is no
    longer paused, counts from now: nothing fires for the past. An interval that becomes another one counts from its
    last tick instead: edited again and again it would never fire.
    """
    wanted = wanted_schedules(workspace.settings)
    # Looked at without the write lock first: this runs at every look at the settings.
    with workspace.state.read() as tx:
        if not _differences(tx, wanted):
            return False
    with workspace.state.write("schedules") as tx:
        rows = {row.name: row for row in tx.exec(select(Schedule))}
        differences = _differences(tx, wanted)
        for name, change in differences.items():
            _apply(tx, workspace, rows.get(name), name, wanted.get(name))
            data = {"change": change, **(wanted.get(name) or {})}
            workspace.record(tx, "schedule.changed", f"schedule/{name}", data)
    return bool(differences)


def wanted_schedules(settings: Settings) -> dict[str, dict[str, Any]]:
    """What the settings ask for: for each schedule's name the columns of its row."""
    wanted: dict[str, dict[str, Any]] = {}
    for name, schedule in settings.schedules.items():
        wanted[name] = _columns(
            Target.PIPELINE if schedule.pipeline else Target.SCORE,
            schedule.pipeline or schedule.score or "",
            schedule.every,
            cron=schedule.cron,
            on_data=schedule.on_data,
            timezone=schedule.timezone,
            parameters={**schedule.parameters, **_tables(schedule)},
            paused=schedule.paused,
            overlap=Overlap(schedule.overlap),
            misfire=Misfire(schedule.misfire),
            grace_seconds=schedule.grace.total_seconds(),
        )
    for name, monitor in settings.monitors.items():
        wanted[f"{MONITOR_PREFIX}{name}"] = _columns(Target.MONITOR, name, monitor.every)
    for name, deployment in settings.deployments.items():
        if deployment.version_probe:
            wanted[f"{PROBE_PREFIX}{name}"] = _columns(Target.PROBE, name, deployment.probe_every)
        for kpi, fetched in deployment.kpis.items():
            if fetched.query is not None:
                # What is fetched once a day is fetched, however late.
                wanted[f"{KPI_PREFIX}{name}/{kpi}"] = _columns(
                    Target.KPI, f"{name}/{kpi}", fetched.every, grace_seconds=fetched.every.total_seconds()
                )
    keeping = settings.housekeeping
    tasks = {"compact": keeping.compact, "backup": keeping.backup, "vacuum": keeping.vacuum, "tidy": keeping.tidy}
    for task, every in tasks.items():
        if every is not None:
            # What should happen once a day happens, however late, on a machine that is often off.
            wanted[f"{HOUSEKEEPING_PREFIX}{task}"] = _columns(
                Target.HOUSEKEEPING, task, every, grace_seconds=every.total_seconds()
            )
    return wanted


def _tables(schedule: ScheduleSettings) -> dict[str, Any]:
    return {"input": schedule.input, "output": schedule.output} if schedule.score else {}


def _columns(target_kind: Target, target: str, every: timedelta | None, **others: Any) -> dict[str, Any]:
    """The columns of a schedule's row; what is not given is as for a schedule that nobody configured."""
    return {
        "target_kind": target_kind,
        "target": target,
        "every_seconds": None if every is None else every.total_seconds(),
        "cron": None,
        "on_data": None,
        "timezone": "UTC",
        "parameters": {},
        "paused": False,
        "overlap": Overlap.SKIP,
        "misfire": Misfire.ONCE,
        "grace_seconds": 3600.0,
        **others,
    }


def _differences(tx: Session, wanted: dict[str, dict[str, Any]]) -> dict[str, str]:
    """For each name that differs: added, changed or removed."""
    rows = {row.name: row for row in tx.exec(select(Schedule))}
    differences = {name: "removed" for name in rows if name not in wanted}
    for name, columns in wanted.items():
        if name not in rows:
            differences[name] = "added"
        elif any(getattr(rows[name], column) != value for column, value in columns.items()):
            differences[name] = "changed"
    return differences


def _apply(tx: Session, workspace: Workspace, row: Schedule | None, name: str, columns: dict[str, Any] | None) -> None:
    if columns is None:
        if row is not None:
            tx.delete(row)
        return
    if row is None:
        tx.add(Schedule(name=name, anchor=workspace.now(), **columns))
        return
    retimed = any(getattr(row, column) != columns[column] for column in _TIMING)
    resumed = row.paused and not columns["paused"]
    both_intervals = row.every_seconds is not None and columns["every_seconds"] is not None
    for column, value in columns.items():
        setattr(row, column, value)
    if retimed or resumed:
        row.anchor = (row.last_tick or row.anchor) if both_intervals and not resumed else workspace.now()
        row.next_tick = None
    tx.add(row)

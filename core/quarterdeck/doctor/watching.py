"""Whether what quarterdeck.toml says of watching can be done: monitors, the names that it names, reactions."""

from __future__ import annotations

from collections.abc import Iterator

from sqlmodel import Session, select

from quarterdeck.deployments.deployment import Deployment
from quarterdeck.doctor.finding import Check, Outcome, Patient, ok, problem, some, warning
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.serving import what_serves
from quarterdeck.pipelines.discovery import find_pipelines_in
from quarterdeck.registry.version import find_version
from quarterdeck.runner.looks import failures_in, unfetched_in
from quarterdeck.settings.monitoring import MonitorSettings


def monitors(patient: Patient) -> Outcome:
    """Whether the newest look of each monitor came to its end, and each can judge what it is told to."""
    known = patient.settings.monitors
    with patient.session("state") as tx:
        failed = [f"{name}: {why}" for name, why in failures_in(tx, sorted(known)).items()]
        blind = [f"{name}: {why}" for name, monitor in sorted(known.items()) for why in _without_holdout(tx, monitor)]
    if failed:
        return problem(
            f"what they watch is not seen, or not all of it: {some(failed)}",
            "Mend it, and try it: `quarterdeck monitor run NAME`.",
        )
    if blind:
        return warning(some(blind), "Register versions with a holdout, or take that out of [monitors.NAME].")
    return ok(f"{len(known)} came to an end when they looked last")


def kpis(patient: Patient) -> Outcome:
    """Whether the query of each business KPI was answered when it was asked last."""
    deployments = patient.settings.deployments.items()
    known = [f"{name}/{kpi}" for name, one in deployments for kpi, told in one.kpis.items() if told.query is not None]
    with patient.session("state") as tx:
        bad = [f"{name}: {why}" for name, why in unfetched_in(tx, sorted(known)).items()]
    if bad:
        return problem(f"not fetched: {some(bad)}", "Mend it, and try it: `quarterdeck kpi fetch DEPLOYMENT KPI`.")
    return ok(f"{len(known)} were fetched when they were asked for last" if known else "none is fetched")


def _without_holdout(tx: Session, monitor: MonitorSettings) -> Iterator[str]:
    """What the settings ask for and can only be judged against a holdout, where the serving version has none."""
    asked = [name for name in ("slices", "costs", "fairness") if getattr(monitor, name)]
    serving = what_serves(tx, monitor.deployment) if asked else None
    if serving is None:
        return
    try:
        version = find_version(tx, serving.model, serving.version)
    except NotFoundError:
        return  # It is served elsewhere, and not registered here.
    if version.holdout is None:
        yield f"{' and '.join(asked)} cannot be judged, since version {version.number} has no holdout"


def names(patient: Patient) -> Outcome:
    """Whether the deployments that are named are there."""
    settings = patient.settings
    with patient.session("state") as tx:
        known = set(tx.exec(select(Deployment.name)))
    strange = [f"[deployments.{name}]" for name in settings.deployments if name not in known]
    strange += [
        f"[monitors.{name}] (deployment = '{monitor.deployment}')"
        for name, monitor in settings.monitors.items()
        if monitor.deployment not in known
    ]
    if strange:
        there = ", ".join(sorted(known)) or "none"
        return warning(
            f"nothing is deployed as {some(strange)} names it; there are: {there}",
            "Mend the name in quarterdeck.toml, or deploy under it: until then that part is of nothing.",
        )
    return ok(f"{len(known)} deployed, and no other is named")


def reactions(patient: Patient) -> Outcome:
    """Whether what reactions to alerts would start is there."""
    known = {found.name: found for found in find_pipelines_in(patient.root / patient.settings.workspace.pipelines)}
    bad, count = [], 0
    for name, monitor in patient.settings.monitors.items():
        for reaction in monitor.reactions:
            count += 1
            found = known.get(reaction.pipeline or "")
            if reaction.pipeline is not None and found is None:
                bad.append(f"{name}/{reaction.name} runs the pipeline '{reaction.pipeline}', which is not there")
            elif found is not None and found.parameters is not None:
                strangers = [one for one in reaction.parameters if one not in found.parameters]
                bad += [f"{name}/{reaction.name} sets '{one}', which is no parameter of it" for one in strangers]
            if reaction.do == "rollback" and patient.settings.deployment(monitor.deployment).protected:
                bad.append(f"{name}/{reaction.name} never fires, since {monitor.deployment} is protected")
    if bad:
        return warning(some(bad), "Mend [[monitors.NAME.reactions]] in quarterdeck.toml: they would be held.")
    return ok(f"{count} would start what is there")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("monitors", monitors),
    ("kpis", kpis),
    ("names", names),
    ("reactions", reactions),
)

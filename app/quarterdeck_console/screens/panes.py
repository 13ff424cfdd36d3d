"""The panes by name."""

from __future__ import annotations

from quarterdeck_console.screens.alerts import AlertsPane
from quarterdeck_console.screens.audit import AuditPane
from quarterdeck_console.screens.deployments import DeploymentsPane
from quarterdeck_console.screens.jobs import JobsPane
from quarterdeck_console.screens.monitors import MonitorsPane
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.screens.pipelines import PipelinesPane
from quarterdeck_console.screens.registry import RegistryPane

PANES: dict[str, type[Pane]] = {
    pane.name: pane
    for pane in (PipelinesPane, RegistryPane, AlertsPane, DeploymentsPane, JobsPane, MonitorsPane, AuditPane)
}


def make_pane(name: str) -> Pane:
    """A fresh pane of that name."""
    return PANES[name]()

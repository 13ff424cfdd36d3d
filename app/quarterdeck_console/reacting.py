"""What the policies did about an alert, or would do: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


def reaction_lines(workspace: Workspace, alert: int) -> list[str]:
    """One line for each policy that follows the alert, oldest first; none where nobody set any."""
    from quarterdeck.runner.reaction_queries import reactions_to

    return [row.line for row in reactions_to(workspace, alert)]

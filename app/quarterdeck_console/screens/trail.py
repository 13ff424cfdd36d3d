"""Where one has been."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Trail:
    """The panes one was in: for `-`, `[` and `]`."""

    visited: list[str] = field(default_factory=list)
    place: int = -1

    def go(self, pane: str) -> None:
        if self.place >= 0 and self.visited[self.place] == pane:
            return
        self.visited = [*self.visited[: self.place + 1], pane]
        self.place = len(self.visited) - 1

    def step(self, by: int) -> str | None:
        place = self.place + by
        if not 0 <= place < len(self.visited):
            return None
        self.place = place
        return self.visited[place]

"""The verbs on tokens."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from quarterdeck import events
from quarterdeck.deployments.token import valid_tokens
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from tests.unit.deployments.factories import add_version


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", "--workspace", str(workspace.root), "token", *arguments])
        code = verbs.run()
        said = capsys.readouterr()
        return code, said.out.strip(), said.err.strip()

    return call


def test_a_token_is_made_listed_without_itself_and_revoked(call: Any, workspace: Workspace) -> None:
    code, secret, advice = call("create", "shop")
    assert code == 0
    assert secret.startswith("qd_")
    assert "require_token = true" in advice
    assert list(valid_tokens(workspace).values()) == [frozenset()]
    code, listed, _ = call("list", "--json")
    (row,) = json.loads(listed)
    assert (row["name"], row["deployments"], row["revoked_at"]) == ("shop", [], None)
    assert secret not in listed
    assert call("revoke", "shop")[0] == 0
    assert valid_tokens(workspace) == {}
    with workspace.state.read() as tx:
        assert [event.kind for event in events.newest(tx, 2, "token/shop")] == ["token.revoked", "token.created"]
        events.verify(tx)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "with blank"), 2, "is not a name"),
        (("create", "x", "--deployment", "nowhere"), 2, "no deployment 'nowhere'"),
        (("create", "twice"), 3, "take another name"),
        (("revoke", "nobody"), 2, "no token 'nobody'"),
        (("revoke", "gone"), 3, "revoked already"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    call: Any, workspace: Workspace, arguments: tuple[str, ...], code: int, words: str
) -> None:
    add_version(workspace)
    for name in ("twice", "gone"):
        call("create", name)
    call("revoke", "gone")
    before = valid_tokens(workspace)
    ended, out, err = call(*arguments)
    assert (ended, out) == (code, "")
    assert words in err
    assert valid_tokens(workspace) == before

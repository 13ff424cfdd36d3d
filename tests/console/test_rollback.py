"""The rollback screen, key by key, on a real workspace whose gateway is this process."""

from __future__ import annotations

from sqlmodel import select

from quarterdeck.deployments.batch_output import BatchOutput
from quarterdeck.deployments.deployment import ServedBy, find_deployment
from quarterdeck.deployments.queries import deployments, operations, revisions
from quarterdeck.deployments.rollout import deploy
from quarterdeck.events import Event
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.console import ConsoleScreen
from quarterdeck_console.widgets.text_view import TextView
from tests.console.conftest import Console
from tests.console.driving import go, listening, plan, said, settled, strip_of, words
from tests.console.seeding import add_version, clock_of, verify


def desired(workspace: Workspace, name: str) -> tuple[int, int]:
    row = next(row for row in deployments(workspace) if row.name == name)
    return row.desired_revision, row.version


async def test_the_first_line_answers_and_the_cursor_stands_on_the_last_known_good(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        screen = await plan(pilot, "fraud")
        assert screen.table.cursor_key == "revision/1"
        answer = screen.query_one("#outlook", TextView).text.plain
        assert answer.startswith("Would it help?  no, because the earlier version sees the same input: amount")
        assert "hold: leave version 2 serving" in answer
        comparison = screen.query_one("#comparison", TextView).text.plain
        assert "v2 -> v1" in comparison
        assert "quarterdeck rollback fraud --to 1 --expected 2" in comparison


async def test_y_rolls_back_and_the_watch_follows_to_verified_and_undo_reverses_it(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        await plan(pilot, "fraud")
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press("y")
        await settled(pilot, lambda: "Waiting for the gateway" in words(pilot))
        assert desired(seeded, "fraud") == (3, 1)
        clock_of(seeded).advance(milliseconds=40)
        verify(seeded, 1, "fraud", 3)
        await settled(pilot, lambda: "U undoes it" in words(pilot))
        assert "request request-3" in words(pilot)
        await pilot.press("U")
        await settled(pilot, lambda: "Undo revision 3 of fraud" in words(pilot))
        await settled(pilot, lambda: pilot.app.screen.query_one("#candidates").has_focus)
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press("y")
        await settled(pilot, lambda: desired(seeded, "fraud") == (4, 2))
        assert revisions(seeded, "fraud")[0].reason == "undo from the console"


async def test_enter_twice_and_a_held_enter_change_nothing(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await plan(pilot, "fraud")
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press("enter")
        assert strip_of(pilot).question is None
        await pilot.press(*["enter"] * 30)
        assert desired(seeded, "fraud") == (2, 2)


async def test_keys_in_the_first_300_ms_are_ignored_and_keep_the_strip_deaf(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        await plan(pilot, "fraud")
        now = 100.0
        strip_of(pilot)._clock = lambda: now
        await pilot.press("enter")
        for _ in range(5):
            now += 0.25
            await pilot.press("y")
        assert strip_of(pilot).question is not None
        assert desired(seeded, "fraud") == (2, 2)
        now += 0.31
        await pilot.press("y")
        await settled(pilot, lambda: desired(seeded, "fraud") == (3, 1))


async def test_a_protected_deployment_asks_for_name_and_reason(seeded: Workspace, console: Console) -> None:
    add_version(seeded, "churn", 0.85)
    deploy(seeded, "churn", model="churn", version=2, reason="better")
    verify(seeded, 1, "churn", 2)
    async with console(seeded) as pilot:
        await plan(pilot, "churn")
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press(*"chum", "enter", *"slow answers", "enter", "enter")
        assert desired(seeded, "churn") == (2, 2), "the name did not match"
        await pilot.press("backspace", *"n", "left", "backspace", *"r", "enter", "enter", "enter")
        assert desired(seeded, "churn") == (2, 2), "still another name"
        await pilot.press(*["backspace"] * 9, "delete", *"churn", "enter", "enter", "enter")
        await settled(pilot, lambda: desired(seeded, "churn") == (3, 1))
        assert revisions(seeded, "churn")[0].reason == "slow answers"


async def test_what_a_bad_version_wrote_is_scored_again_when_asked_for(seeded: Workspace, console: Console) -> None:
    deploy(seeded, "nightly", model="fraud", version=1, served_by=ServedBy.BATCH)
    deploy(seeded, "nightly", model="fraud", version=2)
    with seeded.state.write("test") as tx:
        output = BatchOutput(
            deployment_id=find_deployment(tx, "nightly").id or 0,
            version=2,
            revision=2,
            input="/data/in.csv",
            output="/data/monday.csv",
            rows=12,
            options={},
            ids="monday",
            actor="ann",
            at=seeded.now(),
            input_digest="a" * 64,
            digest="b" * 64,
        )
        tx.add(output)
    async with console(seeded) as pilot:
        await plan(pilot, "nightly")
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press("y")
        await settled(pilot, lambda: "/data/monday.csv  12 rows" in words(pilot))
        await pilot.press("S")
        await listening(pilot)
        await pilot.press("escape")
        assert strip_of(pilot).question is None
        await pilot.press("S")
        await listening(pilot)
        await pilot.press("y")
        await settled(pilot, lambda: "scored again by a job" in said(pilot))
    with seeded.state.read() as tx:
        asked = tx.exec(select(Event.subject).where(Event.kind == "score.requested")).all()
    assert asked == ["deployment/nightly"]


async def test_esc_leaves_the_strip_then_the_screen_and_nothing_changed(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await plan(pilot, "fraud")
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press("escape")
        assert strip_of(pilot).question is None
        await pilot.press("escape")
        await settled(pilot, lambda: isinstance(pilot.app.screen, ConsoleScreen))
        assert desired(seeded, "fraud") == (2, 2)


async def test_a_deployment_that_moved_meanwhile_is_left_alone(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await plan(pilot, "fraud")
        await pilot.press("enter")
        await listening(pilot)
        deploy(seeded, "fraud", model="fraud", version=1, reason="by hand", actor="carol")
        await pilot.press("y")
        await settled(pilot, lambda: "now revision 3 by carol" in said(pilot))
        assert "plan again" in said(pilot)
        assert desired(seeded, "fraud") == (3, 1)


async def test_an_operation_under_way_is_shown_again(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await plan(pilot, "fraud")
        await pilot.press("enter")
        await listening(pilot)
        await pilot.press("y")
        await settled(pilot, lambda: "Waiting for the gateway" in words(pilot))
        await pilot.press("escape")
        await settled(pilot, lambda: isinstance(pilot.app.screen, ConsoleScreen))
        assert [o.state for o in operations(seeded, open_only=True)] == ["planned"]
    async with console(seeded, (80, 24)) as pilot:
        await plan(pilot, "fraud")
        await settled(pilot, lambda: "Rollback of fraud to v1" in words(pilot))


async def test_undo_without_anything_before_says_so(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "5")
        assert table.move_to("deployment/churn")
        await pilot.press("U")
        await settled(pilot, lambda: "nothing to undo in churn" in said(pilot))
        assert isinstance(pilot.app.screen, ConsoleScreen)

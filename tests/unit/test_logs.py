"""Logs: what is in the file, what is masked, and that readers see every line once."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.logs import (
    Follower,
    Line,
    Mask,
    append,
    follow,
    is_runaway,
    rotated,
    scrub,
    secrets_of,
    set_aside,
    tail,
    tell,
)
from quarterdeck.logs.lines import OUT
from quarterdeck.logs.reading import BLOCK_BYTES, GAP
from quarterdeck.logs.writing import LineWriter, Log, LogHandler, open_for_appending

SECRET = "hunter2hunter2"
NEVER = 1 << 40


@contextmanager
def written(path: Path, *, secrets: tuple[str, ...] = (), max_bytes: int = NEVER) -> Iterator[io.TextIOWrapper]:
    """A text stream into the log `path`, as `sys.stdout` is in a job; what it holds is written at the end."""
    handle = open_for_appending(path)
    writer = LineWriter(Log(path, (handle,), Mask(secrets), max_bytes), handle, OUT, "<stdout>")
    with io.TextIOWrapper(writer, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True) as out:
        yield out
    os.close(handle)


def texts(path: Path) -> list[str]:
    return [line.text for line in tail(path, NEVER)]


def test_each_line_has_its_time_to_the_millisecond_and_its_level(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written(path) as out:
        print("one", 2, file=out)
        print("  indented\n\nthree", file=out)
    lines = tail(path, NEVER)
    assert [line.text for line in lines] == ["one 2", "  indented", "", "three"]
    assert {line.level for line in lines} == {OUT}
    assert lines[0].time is not None
    assert abs(lines[0].time - datetime.now(UTC)) < timedelta(minutes=1)
    assert path.read_text().splitlines() == [str(line) for line in lines]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_logging_writes_has_its_level_its_name_and_its_traceback(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handle = open_for_appending(path)
    handler = LogHandler(Log(path, (handle,), Mask([SECRET]), NEVER), handle)
    try:
        raise ValueError(f"no such key: {SECRET}")
    except ValueError:
        record = logging.LogRecord("shop.till", logging.ERROR, "f.py", 1, "open %s", ("till",), sys.exc_info())
    handler.handle(record)
    os.close(handle)
    lines = tail(path, NEVER)
    assert lines[0].text == "shop.till: open till"
    assert lines[1].text == "Traceback (most recent call last):"
    assert lines[-1].text == "ValueError: no such key: ***"
    assert {line.level for line in lines} == {"ERROR"}


def test_a_line_that_is_not_finished_is_written_when_it_is_flushed_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written(path) as out:
        out.write("begun")
        assert texts(path) == []
        out.flush()
        assert texts(path) == ["begun"]
        out.write("\n")
        out.write("rest")
        assert texts(path) == ["begun"]
    assert texts(path) == ["begun", "rest"]


def test_a_progress_bar_leaves_a_few_lines_and_its_last_state(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written(path) as out:
        for step in range(5000):
            out.write(f"\r{step} of 5000")
            out.flush()
        out.write("\r5000 of 5000\n")
        out.write("done\n")
    found = texts(path)
    assert found[0] == "0 of 5000"
    assert found[-2:] == ["5000 of 5000", "done"]
    assert len(found) < 100


def test_progress_bars_below_each_other_do_not_fill_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written(path) as out:
        for step in range(1000):
            for piece in ("\n", f"\rinner {step}", "\x1b[A"):  # As tqdm draws the second of two bars.
                out.write(piece)
                out.flush()
            out.write(f"\router {step}")
            out.flush()
        out.write("\n")
        out.write("done\n")
    found = texts(path)
    assert found[-2:] == ["outer 999", "done"]
    assert len(found) < 100


def test_words_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def work(name: str) -> None:
        for number in range(300):
            print(name, number, name, file=out)

    with written(path) as out:
        threads = [threading.Thread(target=work, args=(name * 20,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = texts(path)
    assert sorted(found) == sorted(f"{n * 20} {i} {n * 20}" for n in "abcd" for i in range(300))
    assert [line for line in found if line[0] == "a"] == [f"{'a' * 20} {i} {'a' * 20}" for i in range(300)]


def test_bytes_and_a_second_wrapper_go_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written(path, secrets=(SECRET,)) as out:
        out.buffer.write(f"bytes {SECRET}\n".encode())
        second = io.TextIOWrapper(out.buffer, encoding="utf-8", write_through=True)
        second.write("wrapped\n")
        second.detach()
        assert not out.isatty()
        assert out.fileno() > 2
        out.write("\udc80 is no character\n")
        assert texts(path) == ["bytes ***", "wrapped", "\\udc80 is no character"]


@pytest.mark.parametrize("cut", range(1, len(SECRET)))
@pytest.mark.parametrize("flush", [False, True])
def test_a_secret_that_is_written_in_two_pieces_is_masked(tmp_path: Path, cut: int, flush: bool) -> None:
    path = tmp_path / "log"
    with written(path, secrets=(SECRET,)) as out:
        out.write(f"key={SECRET[:cut]}")
        if flush:
            out.flush()
        out.write(f"{SECRET[cut:]}!\n")
    assert texts(path) == ["key=***!"]


def test_secrets_are_masked_in_every_form() -> None:
    mask = Mask(["a b/c%d", "postgres://bob:p%40ss@db/x", 'say "it"', "first line\nsecond line\nx", "abc"])
    for form, shown in (
        ("a b/c%d", "***"),
        ("?q=a%20b%2Fc%25d&r", "?q=***&r"),
        ("a+b%2Fc%25d", "***"),
        ("postgres://bob:p%40ss@db/x", "***"),
        ("other://bob:p%40ss@elsewhere", "other://***@elsewhere"),
        ("password p@ss or p%40ss", "password *** or ***"),
        (json.dumps({"k": 'say "it"'}), '{"k": "***"}'),
        ("begin\nfirst line\n  second line\nx\nend", "begin\n***\n  ***\nx\nend"),
        ("abc", "abc"),
    ):
        assert mask(form.encode()).decode() == shown


def test_secrets_are_the_values_of_variables_that_are_set() -> None:
    assert secrets_of(["A", "B", "C"], {"A": "alpha", "B": ""}) == ("alpha",)


WORDS = st.text(st.sampled_from("abS* é\n"), max_size=12)


@settings(max_examples=300, deadline=None)
@given(
    chunks=st.lists(st.one_of(WORDS, st.sampled_from(["Sab*", "Sa", "b*", "SabSab*"]))),
    secrets=st.sampled_from([(), ("Sab*",), ("Sab*", "ab*S"), ("****",)]),
)
def test_the_file_holds_the_lines_as_they_were_written_and_never_a_secret(
    chunks: list[str], secrets: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with written(path, secrets=secrets) as out:
            for chunk in chunks:
                out.write(chunk)
        ended, newline, rest = "".join(chunks).rpartition("\n")
        expected = [*(ended.split("\n") if newline else []), *([rest] if rest.strip() else [])]
        found = texts(path)
        if secrets:
            assert len(found) == len(expected)
            assert found == [Mask(secrets)(line.encode()).decode() for line in expected]
            assert not [line for line in found if any(secret in line for secret in secrets)]
        else:
            assert found == expected


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=8)), max_bytes=st.sampled_from([NEVER, 200]))
def test_a_follower_sees_what_a_late_reader_sees(pieces: list[bytes], max_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        followed = Follower(path)
        seen: list[Line] = []
        with written(path, max_bytes=max_bytes) as out:
            for piece in pieces:
                out.buffer.write(piece)
                seen += followed.read()
        seen += [*followed.read(), *followed.rest()]
        followed.close()
        late = tail(path, NEVER)
        assert seen[len(seen) - len(late) :] == late
        assert max_bytes < NEVER or seen == late


def test_a_log_that_is_full_goes_on_in_a_fresh_file_and_a_follower_goes_along(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Follower(path)
    seen: list[str] = []
    with written(path, max_bytes=1000) as out:
        for number in range(500):
            print(number, file=out)
            if number % 20 == 0:
                seen += [line.text for line in followed.read()]
    seen += [line.text for line in followed.read()]
    followed.close()
    assert seen == [str(number) for number in range(500)]
    assert path.stat().st_size < 1100
    assert rotated(path).stat().st_size < 1100
    assert texts(path) == seen[-len(texts(path)) :]
    assert len(list(tmp_path.iterdir())) == 2


def test_only_one_of_several_processes_moves_a_full_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    handle = open_for_appending(path)
    log = Log(path, (handle,), Mask(), 100)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for number in range(5):
            log.write(handle, OUT, b"another process is moving it: %d" % number)
        assert not rotated(path).exists()
    log.write(handle, OUT, b"the last in the old file")
    log.write(handle, OUT, b"the first in the fresh one")
    os.close(handle)
    assert path.read_text().endswith("the first in the fresh one\n")
    assert len(rotated(path).read_text().splitlines()) == 6


def test_what_goes_on_writing_to_the_old_file_is_followed_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\n")
    followed = Follower(path)
    with path.open("a") as early:
        assert [line.text for line in followed.read()] == ["one"]
        path.rename(rotated(path))
        path.write_text("two\n")
        assert [line.text for line in followed.read()] == ["two"]
        early.write("late\n")
        early.flush()
        assert [line.text for line in followed.read()] == ["late"]
    followed.close()


def test_a_stream_that_the_code_has_redirected_is_left_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    other.write_text("x" * 500)
    handle = open_for_appending(path)
    log = Log(path, (handle,), Mask(), 100)
    with other.open("a") as elsewhere:
        os.dup2(elsewhere.fileno(), handle)
    log.write(handle, OUT, b"into the other file")
    log.write(handle, OUT, b"and again")
    assert other.read_text().endswith("and again\n")
    assert path.read_text() == ""
    os.close(handle)
    assert not rotated(other).exists()


def test_a_cut_off_file_begins_again_and_a_cut_character_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Follower(path)
    assert list(followed.read()) == []
    path.write_bytes("café".encode()[:-1])
    assert list(followed.read()) == []
    with path.open("ab") as file:
        file.write("é".encode()[-1:] + b"\nhalf a line")
    assert [line.text for line in followed.read()] == ["café"]
    assert [line.text for line in followed.rest()] == ["half a line"]
    path.write_text("new\n")
    assert [line.text for line in followed.read()] == ["new"]
    followed.close()


def test_raw_lines_of_subprocesses_have_no_time_and_glued_ones_are_two(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"raw \xff line\n2026-13-01T00:00:00.000Z OUT      never\n10%\r20%\r\nno end of line")
    with written(path) as out:
        print("2026-01-01T00:00:00.000Z OUT      quoted", file=out)
    lines = tail(path, NEVER)
    assert [line.text for line in lines] == [
        "raw � line",
        "2026-13-01T00:00:00.000Z OUT      never",
        "20%",
        "no end of line",
        "2026-01-01T00:00:00.000Z OUT      quoted",
    ]
    assert [line.level for line in lines] == [None, None, None, None, OUT]
    assert str(lines[0]) == "raw � line"


def test_the_tail_begins_with_a_whole_line_and_reaches_into_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "log"
    rotated(path).write_text("old 1\nold 2\n")
    path.write_text("new 1\nnew 2\n")
    assert [line.text for line in tail(path, 9)] == ["new 2"]
    assert [line.text for line in tail(path, 12)] == ["new 1", "new 2"]
    assert [line.text for line in tail(path, 20)] == ["old 2", "new 1", "new 2"]
    assert [line.text for line in tail(path, 1000)] == ["old 1", "old 2", "new 1", "new 2"]
    assert tail(tmp_path / "none", 100) == []


def test_a_window_skips_what_a_flood_has_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "log"
    followed = Follower(path, window=100)
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert [line.text for line in followed.read()] == [f"line {number}" for number in range(989, 1000)]
    followed.close()


def test_readers_mask_what_came_in_raw_also_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    begin, filling = "x" * (BLOCK_BYTES - 5), "x" * (BLOCK_BYTES - len(SECRET))
    path.write_text(f"{begin}{f'{SECRET}{filling}' * 20}\nkey {SECRET}\n")
    found = [line.text for line in tail(path, NEVER, secrets=[SECRET])]
    assert len(found) > 3
    assert "".join(found) == f"{begin}{f'***{filling}' * 20}key ***"


def test_follow_waits_for_the_file_and_gives_what_was_written_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    turns = iter(["nothing", "write", "nothing"])

    def is_over() -> bool:
        turn = next(turns, None)
        if turn == "write":
            path.write_text("one\ntwo")
        return turn is None

    assert [line.text for line in follow(path, is_over=is_over)] == ["one", "two"]
    assert [line.text for line in follow(path, is_over=lambda: True, last=1)] == ["two"]
    assert [line.text for line in islice(follow(path, last=5), 1)] == ["one"]


def test_scrubbing_takes_secrets_out_of_the_files_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written(path) as out:
        print("before", SECRET, 2026, "after", file=out)
    rotated(path).write_text(f"curl -u bob:{SECRET}")
    before = path.read_text()
    assert scrub(path, [SECRET, "2026"])
    assert path.read_text() == before.replace(SECRET, "*" * len(SECRET)).replace("2026 after", "**** after")
    assert rotated(path).read_text() == f"curl -u bob:{'*' * len(SECRET)}"
    assert not scrub(path, [SECRET])
    assert not scrub(path, [])
    assert not scrub(tmp_path / "none", [SECRET])


def test_a_follower_does_not_notice_that_the_log_is_scrubbed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{SECRET}\n")
    followed = Follower(path, secrets=[SECRET])
    assert len(list(followed.read())) == 1
    assert scrub(path, [SECRET])
    assert list(followed.read()) == []
    followed.close()


def test_a_flood_by_a_subprocess_is_noticed_in_either_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert not is_runaway(path, 10)
    path.write_text("x" * 40)
    assert not is_runaway(path, 10)
    rotated(path).write_text("x" * 41)
    assert is_runaway(path, 10)
    assert not is_runaway(path, 0)


def test_on_a_full_disk_the_line_after_a_torn_one_stands_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    handle = open_for_appending(path)
    log = Log(path, (handle,), Mask(), NEVER)
    write = os.write
    room = [40]

    def until_full(handle: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = write(handle, data[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", until_full)
        with pytest.raises(OSError, match="No space left"):
            log.write(handle, OUT, b"a line that is too long")
    log.write(handle, OUT, b"room again")
    os.close(handle)
    assert texts(path) == ["a line", "room again"]


@pytest.mark.parametrize(("terminal", "begins"), [(True, "runner: ready"), (False, "20")])
def test_narration_is_plain_on_a_terminal_and_dated_in_a_file(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, begins: str
) -> None:
    said: list[str] = []
    stream = SimpleNamespace(write=said.append, flush=lambda: None, isatty=lambda: terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    tell("INFO", "runner: ready")
    assert "".join(said).startswith(begins)
    assert "".join(said).endswith("runner: ready\n")


def test_a_follower_that_is_too_slow_says_that_lines_are_missing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\n")
    follower = Follower(log)
    assert [line.text for line in follower.read()] == ["one"]
    for text in ("two", "three"):
        os.replace(log, rotated(log))
        log.write_text(f"{text}\n")
    assert [line.text for line in follower.read()] == [GAP, "two", "three"]
    follower.close()


def test_what_the_runner_did_to_a_job_is_the_last_line_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"half a line")
    append(log, "ERROR", "It was killed.")
    first, last = log.read_text().splitlines()
    assert (first, last[25:]) == ("half a line", "ERROR    It was killed.")
    log.write_bytes(b"x" * 5_000_000)
    append(log, "ERROR", "It flooded its log.", at_most=1_000_000)
    assert 1_000_000 < log.stat().st_size < 1_000_200
    assert log.read_bytes().endswith(b"It flooded its log. The rest of this log, 4 MB, was cut off.\n")


def test_a_log_of_another_time_is_kept_apart(tmp_path: Path) -> None:
    log = tmp_path / "7-1.log"
    log.write_text("of a run that a restored backup does not know\n")
    set_aside(log)
    assert not log.exists()
    assert (tmp_path / "7-1.log.old").read_text().startswith("of a run")
    set_aside(log)

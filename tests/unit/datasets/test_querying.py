"""Tables from a database: what it refuses is said, without the password, and nothing in it is changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from quarterdeck.adapters.querying import SqlQuerier
from quarterdeck.datasets.querying import Query
from quarterdeck.errors import DataError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE scored (id TEXT, area REAL, rooms INTEGER)")
        connection.execute("INSERT INTO scored VALUES ('a', 71.5, 3), ('b', NULL, NULL)")
    connection.close()
    return path


def test_a_query_is_a_table(file: Path) -> None:
    frame = Query(f"sqlite:///{file}", "select id, area from scored where rooms = 3 and id not like ':x%'").read(
        SqlQuerier()
    )
    assert frame.to_dict("records") == [{"id": "a", "area": 71.5}]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select * from absent", "refused the query: no such table: absent"),
        ("select", "refused the query"),
        ("delete from scored", "attempt to write a readonly database"),
        ("create table other (n)", "attempt to write a readonly database"),
        ("select * from scored where rooms = 9", "answers no rows"),
    ],
)
def test_a_query_that_answers_nothing_says_why_and_changes_nothing(file: Path, query: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Query(f"sqlite:///{file}", query).read(SqlQuerier())
    assert len(Query(f"sqlite:///{file}", "select * from scored").read(SqlQuerier())) == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///{folder}/nothing.db", "there is no file"),
        ("nonsense", "no database URL"),
        ("unheardof://host/db", "cannot be asked|not installed"),
        ("postgresql+unheardof://me:secret@host/db", "cannot be asked|not installed"),
    ],
)
def test_a_url_that_leads_nowhere_is_named_without_its_password(tmp_path: Path, url: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as raised:
        Query(url.format(folder=tmp_path), "select 1").read(SqlQuerier())
    assert "secret" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []

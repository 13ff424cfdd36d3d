"""Tables of a few columns, and files of them, to compare one with another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def frame(rows: int, seed: int, **changes: Any) -> pd.DataFrame:
    """Two columns of numbers and two of categories; `changes` are put in place of them, or beside them."""
    random = np.random.default_rng(seed)
    columns = {
        "amount": random.lognormal(size=rows),
        "age": random.integers(18, 80, rows),
        "channel": random.choice(["app", "web", "shop"], rows),
        "member": random.random(rows) < 0.3,
    }
    return pd.DataFrame({**columns, **changes})


def write(path: Path, table: pd.DataFrame) -> Path:
    """As Parquet of several row groups, which large files have; as JSON lines; else as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, row_group_size=500)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False)
    return path

"""What steps returned, read back from the artifact store."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pandas as pd

from quarterdeck.registry.storage import load_estimator
from quarterdeck.workspace import Workspace


def load(workspace: Workspace, digest: str | None, kind: str | None) -> Any:
    """A value by the digest and the type that `outputs.store` gave it."""
    assert digest is not None
    if kind == "skops":
        return load_estimator(workspace, digest)
    content = workspace.artifacts.read(digest)
    if kind == "parquet":
        return pd.read_parquet(io.BytesIO(content))
    if kind == "npy":
        return np.load(io.BytesIO(content), allow_pickle=False)
    return json.loads(content)

"""Full drift reports by Evidently. It takes 7 s to import, so this runs in job processes only."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class EvidentlyReporter:
    def drift_report(self, reference: pd.DataFrame, current: pd.DataFrame) -> str:
        """Evidently's DataDriftPreset of `current` against `reference`, as one HTML page."""
        os.environ["DO_NOT_TRACK"] = "1"
        with warnings.catch_warnings():
            # Evidently's own imports warn about what it will have to change; that is not about us.
            warnings.simplefilter("ignore")
            from evidently import Dataset, Report
            from evidently.presets import DataDriftPreset

            # A column without a single value crashes the report.
            columns = [c for c in reference.columns if reference[c].notna().any() and current[c].notna().any()]
            snapshot = Report([DataDriftPreset()]).run(
                Dataset.from_pandas(current[columns]), Dataset.from_pandas(reference[columns])
            )
            with tempfile.TemporaryDirectory() as folder:
                page = Path(folder) / "report.html"
                snapshot.save_html(str(page))
                return page.read_text(encoding="utf-8")

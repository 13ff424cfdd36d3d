"""What every job needs and takes seconds to import: the fork server imports this once, and jobs inherit it.

It only imports. A thread that is started here would be missing in every job.
"""

from __future__ import annotations

import gc
import threading

# First of all: skops looks for each of SciPy's functions in all modules there are by then, to know it by its name.
import scipy.special
import skops.io

# isort: split
import numpy
import pandas
import pyarrow.dataset
import pyarrow.parquet
import river.drift
import scipy.stats
import sklearn.compose
import sklearn.ensemble
import sklearn.impute
import sklearn.inspection
import sklearn.linear_model
import sklearn.metrics
import sklearn.model_selection
import sklearn.pipeline
import sklearn.preprocessing
from sqlalchemy.orm import configure_mappers

import quarterdeck.deployments.backtesting
import quarterdeck.deployments.replaying
import quarterdeck.monitoring.evaluation
import quarterdeck.monitoring.notification
import quarterdeck.monitoring.reporting
import quarterdeck.pipelines.execution
import quarterdeck.runner.worker
from quarterdeck.pipelines.provenance import environment
from quarterdeck.processes import adopt_orphans

__all__ = ["numpy", "pandas", "pyarrow", "quarterdeck", "river", "scipy", "sklearn", "skops"]

# The first transaction of a process would do this, at 15 ms for each job.
configure_mappers()
# And each run would read the metadata of every installed package.
environment()

# What a job leaves behind whose own process was killed falls to the fork server, which the runner looks through.
adopt_orphans()

# A job that collects garbage would look through all of it, and get a copy of each page that it looks at.
gc.collect()
gc.freeze()

if threading.active_count() != 1:
    names = ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
    raise ImportError(f"An import of the preload started threads ({names}), which jobs would lack.")

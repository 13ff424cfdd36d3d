"""The process of a trial: loads one version, asks it with its own example, and says what memory that took."""

from __future__ import annotations

import os
import socket
from importlib import import_module

from quarterdeck.errors import QuarterdeckError
from quarterdeck.processes import memory_bytes
from quarterdeck.registry.libraries import preload
from quarterdeck.registry.model_host import end_with_parent, send
from quarterdeck.registry.version import Format, ModelVersion, find_version
from quarterdeck.serving.runtime import Lane, bring_up
from quarterdeck.workspace import Workspace


def run_trial(workspace: Workspace, model: str, number: int, handle: int) -> None:
    """Load version `number` of `model` and write the outcome to the socket `handle`: its memory in bytes, or an error.

    Whatever the model does to this process, whoever holds the other end sees it end.
    """
    with socket.socket(fileno=handle) as connection:
        connection.set_inheritable(False)
        end_with_parent(connection)
        send(connection, _outcome(workspace, model, number))


def _outcome(workspace: Workspace, model: str, number: int) -> dict[str, int | str]:
    try:
        with workspace.state.read() as tx:
            version = find_version(tx, model, number)
        _import_for(version)
        before = memory_bytes(os.getpid())
        loaded = bring_up(workspace, model, version, Lane("trial"))
        memory = memory_bytes(os.getpid()) - before
        loaded.predictor.close()
        return {"memory": max(memory, 0)}
    except QuarterdeckError as error:
        return {"error": str(error)}
    except Exception as error:  # a model's own code may raise anything
        return {"error": f"{type(error).__name__}: {error}"}


def _import_for(version: ModelVersion) -> None:
    """Import what is not the model's own: the gateway has it already, so it is no part of what the model takes."""
    if version.format is Format.SKOPS:
        preload()
        return
    libraries = {Format.XGBOOST: "xgboost", Format.LIGHTGBM: "lightgbm"}
    import_module(libraries.get(version.format, "onnxruntime"))

"""What answers instead of a model, where a column's policy sends a request: a constant, a rule, or another version."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from quarterdeck.errors import QuarterdeckError
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.values import shown
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.serving.routing import ActiveRoute
from quarterdeck.serving.runtime import Answer, Answering, Runtime
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.workspace import Workspace

RETRY_SECONDS = 5.0
_importing = threading.Lock()
log = logging.getLogger("quarterdeck.gateway")
Rule = Callable[[dict[str, Any]], Any]


class FallbackError(QuarterdeckError):
    """The fallback of this deployment cannot answer."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A constant or a rule, asked as a version is."""

    model: str
    signature: Signature
    """Of the version that it stands in for."""
    what: str
    rule: Rule
    row_seconds: float
    """Infinite for code that nobody has measured: it goes to the inference thread."""
    version: int = NO_VERSION
    lane: None = None

    def predict(self, columns: dict[str, list[Any]]) -> Answer:
        """The rule's answer to each row.

        Raises:
            FallbackError: the rule raised an error, or answered what the model could not have answered.
        """
        values = [self._answer(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
        return Answer(values, None)

    def _answer(self, row: dict[str, Any]) -> Any:
        try:
            value = self.rule(row)
        except Exception as error:  # the user's own code may raise anything
            log.exception("%s failed", self.what)
            raise FallbackError(f"The fallback, {self.what}, failed: {type(error).__name__}: {error}") from error
        return answerable(value, self.signature, f"The fallback, {self.what}, answered what it may not:")


@dataclass(frozen=True, slots=True)
class _Prepared:
    route: ActiveRoute
    model: asyncio.Future[Answering]
    begun: float


class Fallbacks:
    """The fallbacks of one gateway worker's deployments, made ready in threads, each once for a route."""

    def __init__(self, workspace: Workspace, runtime: Runtime) -> None:
        self._workspace = workspace
        self._runtime = runtime
        self._prepared: dict[str, _Prepared] = {}

    def prepare(self, route: ActiveRoute) -> asyncio.Future[Answering] | None:
        """Begin to make ready what answers instead of `route`; None where the settings name nothing."""
        settings = self._workspace.settings.deployment(route.deployment)
        if settings.fallback is None:
            return None
        known = self._prepared.get(route.deployment)
        if known is not None and known.route is route and not _to_be_tried_again(known):
            return known.model
        model = asyncio.ensure_future(asyncio.to_thread(self._load, route, settings))
        model.add_done_callback(_log_failure)
        self._prepared[route.deployment] = _Prepared(route, model, time.monotonic())
        return model

    async def of(self, route: ActiveRoute) -> Answering:
        """What answers instead of `route`.

        Raises:
            FallbackError: it cannot be made ready; the message says why.
        """
        model = self.prepare(route)
        if model is None:
            raise FallbackError(f"Deployment '{route.deployment}' has no fallback.")
        # A client that goes away must not cancel what others wait for.
        return await asyncio.shield(model)

    def _load(self, route: ActiveRoute, settings: DeploymentSettings) -> Answering:
        try:
            return self._loaded(route, settings)
        except Exception as error:  # a rule's module and a model's own code may raise anything
            why = str(error) if isinstance(error, QuarterdeckError) else f"{type(error).__name__}: {error}"
            raise FallbackError(f"The fallback of deployment '{route.deployment}' cannot answer: {why}") from error

    def _loaded(self, route: ActiveRoute, settings: DeploymentSettings) -> Answering:
        fallback, signature = settings.fallback, route.model.signature
        assert fallback is not None
        if fallback.version is not None:
            with self._workspace.state.read() as tx:
                version = find_version(tx, route.model.model, fallback.version)
            _check_takes(version, route, settings)
            return self._runtime.load(route.model.model, version)
        if fallback.rule is not None:
            rule = load_rule(self._workspace.root, fallback.rule)
            return StandIn(route.model.model, signature, f"the rule {fallback.rule}", rule, row_seconds=math.inf)
        constant = answerable(fallback.constant, signature, "the constant")
        return StandIn(route.model.model, signature, "the constant", lambda row: constant, row_seconds=0.0)


def _to_be_tried_again(known: _Prepared) -> bool:
    failed = known.model.done() and (known.model.cancelled() or known.model.exception() is not None)
    return failed and time.monotonic() >= known.begun + RETRY_SECONDS


def _log_failure(model: asyncio.Future[Answering]) -> None:
    if not model.cancelled() and (error := model.exception()) is not None:
        log.error("%s", error)


def _check_takes(version: ModelVersion, route: ActiveRoute, settings: DeploymentSettings) -> None:
    """Raises FallbackError: `version` does not take what requests for `route` have."""
    has = {feature.name: feature.type for feature in route.model.signature.features}
    for feature in Signature.from_dict(version.signature).features:
        if has.get(feature.name) != feature.type:
            raise FallbackError(f"version {version.number} takes other columns ({feature.name} is {feature.type}).")
        policy = settings.columns.get(feature.name)
        sent_here = policy is not None and policy.missing == "fallback"
        if sent_here and feature.name in version.agreement.get("refuses_missing", ()):
            raise FallbackError(f"version {version.number} takes no missing value of '{feature.name}' either.")


def load_rule(root: Path, rule: str) -> Rule:
    """The function that `module:function` names in the workspace's folder `root`; the module is imported once.

    Raises:
        FallbackError: there is no such module or function, or the module's name is that of another one.
        Exception: whatever the module raises when it is imported.
    """
    name, _, function = rule.partition(":")
    base = root.joinpath(*name.split("."))
    file = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
    if file is None:
        raise FallbackError(f"there is no module '{name}' in {root}.")
    with _importing:
        found = getattr(_imported(root, name, file), function, None)
    if not callable(found):
        raise FallbackError(f"{file} has no function '{function}'.")
    checked: Rule = found
    return checked


def _imported(root: Path, name: str, file: Path) -> ModuleType:
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) != str(file):
            raise FallbackError(f"the name of {file} is that of another module, {name}: rename it.")
        return known
    if str(root) not in sys.path:
        sys.path.append(str(root))  # so that it can import its neighbours
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def answerable(value: Any, signature: Signature, what: str) -> Any:
    """`value` if the model could have answered it: a label that it knows, or a finite number.

    Raises:
        FallbackError: it is something else; the message begins with `what`.
    """
    if signature.classes is not None:
        # By type too: 1 is not True.
        if not any(type(label) is type(value) and label == value for label in signature.classes):
            known = ", ".join(str(label) for label in signature.classes)
            raise FallbackError(f"{what} {shown(value)} is none of the classes {known}.")
        return value
    if type(value) not in (int, float) or not math.isfinite(value):
        raise FallbackError(f"{what} {shown(value)} is no finite number.")
    return float(value)

"""Whether a version can serve a deployment: its artifact is there, and it takes what the serving one takes."""

from __future__ import annotations

import os

from sqlmodel import Session

from quarterdeck.deployments.deployment import Deployment, ServedBy
from quarterdeck.errors import NotFoundError
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Format, ModelVersion, find_version
from quarterdeck.workspace import Workspace

_WIRE_TYPE = {"number": "number", "integer": "number"}


def why_not(
    tx: Session, workspace: Workspace, deployment: Deployment, version: int, *, serving: int | None
) -> str | None:
    """Why `version` of the deployment's model cannot serve it, in words that end a sentence; None when it can.

    `serving` is the version whose callers it would have to answer; none when nothing serves yet.
    """
    try:
        target = find_version(tx, deployment.model, version)
    except NotFoundError as error:
        return str(error).rstrip(".")
    if deployment.served_by is not ServedBy.EXTERNAL:
        if target.format is Format.EXTERNAL or target.artifact is None:
            return f"version {version} is external: its model is not stored here"
        if not workspace.artifacts.has(target.artifact):
            return f"its artifact {target.artifact[:12]} is missing from {workspace.artifacts.root}"
        if target.python is not None and not os.access(target.python, os.X_OK):
            return f"its Python environment is gone: there is no {target.python}"
    if serving is None or serving == version:
        return None
    return signature_difference(find_version(tx, deployment.model, serving), target)


def signature_difference(before: ModelVersion, after: ModelVersion) -> str | None:
    """What callers of `before` would stumble over with `after`; None when nothing.

    Names, order and wire type of the features count: a recorded prediction holds its inputs in that order. Whole and
    other numbers are one type here, as one missing value in training turns the first into the second.
    """
    old, new = Signature.from_dict(before.signature), Signature.from_dict(after.signature)
    lacking = [name for name in old.names if name not in new.names]
    added = [name for name in new.names if name not in old.names]
    if lacking or added:
        parts = [f"lacks {', '.join(lacking)}"] if lacking else []
        parts += [f"needs {', '.join(added)}"] if added else []
        return f"its signature is incompatible with version {before.number}: it {' and '.join(parts)}"
    if old.names != new.names:
        return f"its signature is incompatible with version {before.number}: the features are in another order"
    retyped = [
        f"{a.name} is {b.type}, not {a.type}"
        for a, b in zip(old.features, new.features, strict=True)
        if _WIRE_TYPE.get(a.type, a.type) != _WIRE_TYPE.get(b.type, b.type)
    ]
    if retyped:
        return f"its signature is incompatible with version {before.number}: {', '.join(retyped)}"
    return None

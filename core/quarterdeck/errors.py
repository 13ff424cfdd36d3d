"""Every error that a person can meet. The docstring is the default message; a message names the next step."""

from __future__ import annotations


class QuarterdeckError(Exception):
    """Quarterdeck could not do this."""

    exit_code = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class UsageError(QuarterdeckError):
    """The request does not fit what is there. See `quarterdeck VERB --help`."""

    exit_code = 2


class NotFoundError(UsageError):
    """There is nothing of that name."""


class SettingsError(UsageError):
    """quarterdeck.toml does not say what Quarterdeck expects. Mend the key that is named and try again."""


class DataError(UsageError):
    """The data cannot be read as a table."""


class RefusedError(QuarterdeckError):
    """A gate or a policy refused this."""

    exit_code = 3


class ReadOnlyError(RefusedError):
    """This workspace is read-only. Set `read_only = false` under [workspace] in quarterdeck.toml to write."""


class NewerWorkspaceError(RefusedError):
    """This workspace was written by a newer Quarterdeck. Install that version or a later one."""


class ConflictError(QuarterdeckError):
    """It moved since you looked. Look again and repeat."""

    exit_code = 4


class BusyError(QuarterdeckError):
    """Another process holds the write lock of this workspace. Try again in a moment."""


class DiskError(QuarterdeckError):
    """The disk is full or failed. Make room or mend it, then try again."""


class DamagedError(QuarterdeckError):
    """A database is damaged. `quarterdeck doctor` tells where, docs/housekeeping.md how to restore a backup."""


class ArtifactError(QuarterdeckError):
    """An artifact is missing or damaged. Restore .quarterdeck/artifacts from a backup."""


class IllegalTransitionError(QuarterdeckError):
    """That change of state is not legal."""


class FencedError(QuarterdeckError):
    """This attempt was given up and another one may be running: its writes are no longer taken."""

"""The command line: `quarterdeck VERB` does one thing and exits; without a verb the console opens."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `quarterdeck` command.

    `--version` answers before anything but the standard library is imported: scripts ask it often.
    """
    if sys.argv[1:] in (["--version"], ["-V"]):
        from importlib.metadata import version

        sys.stdout.write(f"quarterdeck {version('quarterdeck')}\n")
        return
    from quarterdeck_console.cli.verbs import run

    sys.exit(run())

"""The command line. Nothing heavy is imported until a command needs it."""

from __future__ import annotations


def main() -> None:
    """`certctl`, or what its shell asks when somebody presses Tab."""
    import os

    if "_CERTCTL_COMPLETE" in os.environ:
        from certctl.cli.completing import complete

        complete()
        return
    from certctl.cli.app import app

    app(prog_name="certctl")


def server_main() -> None:
    """`certctl-server`, which is `certctl server`."""
    import sys

    from certctl.cli.app import app

    app(["server", *sys.argv[1:]], prog_name="certctl")

"""`certctl secrets`."""

from typing import TYPE_CHECKING

import typer

from certctl.cli.session import AsJson, Session, command_group, examples

if TYPE_CHECKING:
    from certctl.schemas.secrets import SealingStatus

_ORIGINS = {
    "file": "a file in the server's data directory",
    "environment": "the server's environment (CERTCTL_CONFIG_ENCRYPTION_KEY)",
}
_AGAIN = "see how far it is: certctl secrets; repeating it is harmless, and finishes what is left"

app = command_group()


@app.callback(
    invoke_without_command=True,
    epilog=examples("certctl secrets", "certctl secrets rotate"),
)
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the keys that seal what is stored; rotate them.

    The server stores credentials of CAs and its own private keys sealed (encrypted). Only the ids
    of the sealing keys are shown, and how many stored values are under each of them.
    """
    session = Session(context, as_json)
    if context.invoked_subcommand is not None:
        return
    with session.connect() as client:
        found = client.sealing_status()
    session.answer(found, lambda: _told(found))
    if left := _under_old_keys(found):
        session.note(f"{_values(left)} under an old key. Seal anew: certctl secrets rotate")


@app.command(epilog=examples("certctl secrets rotate", "certctl secrets rotate --json"))
def rotate(context: typer.Context, as_json: AsJson = False) -> None:
    """Seal everything that is stored under a new key, while the server runs.

    It may take minutes. If it is cut off, nothing is lost: run it again, and it finishes.

    Where the key is a file in the data directory, the server makes the new one, and forgets the
    old one at the end. Back up the directory afterwards.

    Where the key is in the environment, you make the new one:

    \b
    1. Restart every server process with the new key added to
       CERTCTL_CONFIG_DECRYPTION_KEYS, so that each can read what it seals.
    2. Restart every server process with the new key in
       CERTCTL_CONFIG_ENCRYPTION_KEY, the old in CERTCTL_CONFIG_DECRYPTION_KEYS.
    3. Run this command.
    4. When `certctl secrets` shows nothing under the old key, take it out and
       restart.
    """
    session = Session(context, as_json)

    from certctl.cli.errors import maybe_done
    from certctl.cli.progress import waiting
    from certctl.client import ClientError

    with session.connect() as client:
        try:
            with waiting("Sealing everything anew", watched=session.is_watched()):
                done = client.rotate_secrets()
        except ClientError as error:
            if not error.uncertain:
                raise
            words = "The rotation may go on without you, or have been cut off"
            raise maybe_done(error, words, hint=_AGAIN) from error
        except KeyboardInterrupt:
            typer.echo(
                "\nInterrupted. The rotation may go on without you, or have been cut off.\n"
                f"Hint: {_AGAIN}",
                err=True,
            )
            raise
    session.answer(done, lambda: f"Sealed anew: {done.resealed}\n\n{_told(done)}")
    if left := _under_old_keys(done):
        session.note(
            f"{_values(left)} under an old key, stored by another process meanwhile. Once every "
            "process has the new key, run this again."
        )
    elif done.source == "file":
        session.note("Back up the data directory: a copy of before does not have the new key.")
    elif len(done.keys) > 1:
        session.note(
            "Nothing is under an old key. Take it out of CERTCTL_CONFIG_DECRYPTION_KEYS, and "
            "restart every process."
        )


def _told(status: "SealingStatus") -> str:
    from certctl.cli.tables import Column, Table, as_text, fields

    columns = (Column("KEY"), Column("SEALS"), Column("VALUES"))
    rows = [
        (key.key_id, "from now on" if key.current else "no more", str(key.values))
        for key in status.keys
    ]
    return fields([("Key from", _ORIGINS[status.source])]) + "\n\n" + as_text(Table(columns, rows))


def _under_old_keys(status: "SealingStatus") -> int:
    return sum(key.values for key in status.keys if not key.current)


def _values(number: int) -> str:
    return "1 value is" if number == 1 else f"{number} values are"

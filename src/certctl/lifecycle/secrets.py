"""The keys that seal what is stored: which there are, and their rotation.

A rotation adds a key, seals everything anew under it, and only then gives up the old ones. It may
die between any two lines: until its end, all keys are kept, and the next one carries on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from certctl.domain.audit import AuditEvent
from certctl.domain.errors import Conflict
from certctl.storage.key_file import KeyFile, new_secret
from certctl.storage.rotation import Resealed, count_by_header, reseal
from certctl.storage.sealing import FURTHER_SETTING, SECRET_SETTING, key_id

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from certctl.domain.clock import Clock
    from certctl.lifecycle.access import Actor
    from certctl.storage.database import Database, Transaction
    from certctl.storage.rotation import Place
    from certctl.storage.sealing import Keyring

log = structlog.get_logger(__name__)

#: More places than these are counted, not named.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One key, by its id in hex, and how many stored values it seals."""

    key_id: str
    current: bool
    values: int


@dataclass(frozen=True, slots=True)
class SealingState:
    """Where the keys come from, and all that there are or that seal something; current first."""

    from_file: bool
    keys: tuple[KeyUse, ...]


@dataclass(frozen=True, slots=True)
class RotationOutcome:
    """What a rotation left, and how many values it sealed anew."""

    state: SealingState
    resealed: int


class Secrets:
    """Shows and rotates the keys; for administrators."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rotating = asyncio.Lock()

    async def status(self) -> SealingState:
        """Which keys there are, and what each of them seals."""
        counts = await self._database.read(count_by_header)
        return _state(self._database.keyring, counts)

    async def rotate(self, actor: Actor) -> RotationOutcome:
        """Seal everything under the newest key and give up the others; safe to repeat.

        With the key in a file, that key is made here, unless an earlier rotation that did not come
        to its end has made it. With keys in the environment, it is the operator's first one.

        Raises Conflict when there is no other key to change to, when another rotation runs, or
        when something was left under an old key (which is kept then); Unavailable.
        """
        if self._rotating.locked():
            raise Conflict(
                "rotation-running",
                "a rotation of the sealing key is under way",
                hint="wait for its end: GET /api/v1/secrets shows how far it is",
            )
        async with self._rotating:
            return await self._rotate(actor)

    async def _rotate(self, actor: Actor) -> RotationOutcome:
        keyring = self._database.keyring
        if keyring.file is not None:
            await asyncio.to_thread(_take_newest, keyring, keyring.file)
        elif len(keyring.ids) == 1:
            raise Conflict(
                "no-other-sealing-key",
                f"there is one sealing key, in {SECRET_SETTING}, and no other one to change to",
                hint="first restart every process with a new secret in "
                f"{FURTHER_SETTING}; then restart every process with the new one in "
                f"{SECRET_SETTING} and the old one in {FURTHER_SETTING}; then rotate; and last, "
                f"when nothing is under the old key, restart without {FURTHER_SETTING}",
            )
        log.info("sealing everything anew", current=keyring.current)
        resealed = await self._reseal()
        counts = await self._record(actor, resealed)
        left = counts.total() - counts[keyring.header]
        if left and (resealed.unopened or keyring.file is not None):
            raise _left_over(left, resealed.unopened)
        if keyring.file is not None:
            await asyncio.to_thread(_keep_newest, keyring, keyring.file)
        return RotationOutcome(_state(keyring, counts), resealed.count)

    async def _reseal(self) -> Resealed:
        """Walk until a walk finds nothing to do: what was stored meanwhile is found too."""
        count = 0
        while True:
            walk = await reseal(self._database)
            count += walk.count
            if walk.count == 0:
                return Resealed(count, walk.unopened)

    async def _record(self, actor: Actor, resealed: Resealed) -> Counter[bytes]:
        """Write down what was done, and count what each key seals now.

        The writer does one thing after the other and seals in between: what it finds under an old
        key here is all that there will ever be, as far as this process is concerned.
        """
        keyring = self._database.keyring
        event = AuditEvent(
            self._clock.now_ms(),
            actor.id,
            "secrets.rotated",
            "sealing_key",
            keyring.current,
            {
                "resealed": resealed.count,
                "unopened": len(resealed.unopened),
                "others": list(keyring.ids[1:]),
            },
        )

        def write(transaction: Transaction) -> Counter[bytes]:
            transaction.audit(event)
            return count_by_header(transaction.connection)

        return await self._database.write(write)


def _take_newest(keyring: Keyring, file: KeyFile) -> None:
    """Seal with the newest secret of the file, which is made unless there are several already."""
    kept = file.read()
    if keyring.current not in {key_id(value) for value in kept}:
        raise Conflict(
            "encryption-key-changed",
            f"{file.path} does not hold the key that this server seals with",
            hint="put the file back as it was when the server was started; then rotate again",
        )
    if len(kept) == 1:
        made = new_secret()
        while keyring.opens(key_id(made)):  # two keys of one id could not be told apart
            made = new_secret()
        kept = [made, *kept]
        file.write(kept)
    keyring.use(*kept)


def _keep_newest(keyring: Keyring, file: KeyFile) -> None:
    file.write(file.read()[:1])
    keyring.retire()


def _state(keyring: Keyring, counts: Counter[bytes]) -> SealingState:
    values = dict.fromkeys(keyring.ids, 0)
    for header, number in sorted(counts.items()):
        found = header[1:].hex()
        values[found] = values.get(found, 0) + number
    return SealingState(
        keyring.file is not None,
        tuple(KeyUse(each, each == keyring.current, number) for each, number in values.items()),
    )


def _left_over(left: int, unopened: Sequence[Place]) -> Conflict:
    if not unopened:
        return Conflict(
            "secrets-not-resealed",
            f"{left} stored secrets are still under an old key, which is kept",
            hint="rotate again",
        )
    named = [f"{place.name!r} of {place.scope!r}" for place in unopened[:_NAMED]]
    if len(unopened) > _NAMED:
        named.append(f"{len(unopened) - _NAMED} more")
    log.error("stored secrets cannot be opened", places=named)
    return Conflict(
        "secrets-not-opened",
        f"everything else is sealed anew, and these cannot be opened: {', '.join(named)}; "
        "the old keys are kept",
        hint="bring back the key that sealed them, or the values from a backup, or store new ones "
        "in their place; then rotate again",
    )

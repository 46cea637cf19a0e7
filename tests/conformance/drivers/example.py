"""The worked example of the documentation, as it is printed there."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from certctl.domain.orders import Recovery
from tests.conformance.driver import Driver
from tests.conformance.drivers.stand_in import anchor, start
from tests.conformance.mischief import Mischief, Operation
from tests.conformance.stand_in.spoiling import REFUSAL

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[3] / "docs" / "connectors" / "example" / "example_ca.py"


def _load() -> ModuleType:
    spec = spec_from_file_location("example_ca", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["example_ca"] = module  # pydantic looks a model's annotations up there
    spec.loader.exec_module(module)
    return module


DRIVERS = [
    Driver(
        name="example",
        connector=_load().CONNECTOR,
        recovery=Recovery.LOOKUP,
        start=start,
        mischief=frozenset(Mischief),
        operations=frozenset(Operation) - {Operation.RELEASE, Operation.REVOCATION_POLL},
        asynchronous=True,
        mutual_tls=True,
        refusal=REFUSAL,
        locked="the API key and the secret do not go together",
        anchor=anchor,
    )
]

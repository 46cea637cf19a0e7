"""GlobalSign Atlas HVCA, version 2, in the vendor's own API and in that of header-keyed gateways.

`atlas` is the API as GlobalSign publishes it: a login buys a token, the account's validation policy
shapes every order. `headers` sends key and secret with every request. `auto` finds out which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certctl.connectors.contract import ConnectorType
from certctl.connectors.globalsign.config import GlobalSignConfig

if TYPE_CHECKING:
    from certctl.connectors.contract import Connector, ConnectorContext


async def build(config: GlobalSignConfig, context: ConnectorContext) -> Connector:
    """Make the connector of one issuer: its files are read, and nobody is called yet."""
    from certctl.connectors.globalsign.atlas import AtlasConnector
    from certctl.connectors.globalsign.auto import AutoConnector
    from certctl.connectors.globalsign.headers import HeadersConnector

    atlas, headers = AtlasConnector(config, context), HeadersConnector(config, context)
    await atlas.transport.prepare()
    match config.dialect:
        case "atlas":
            return atlas
        case "headers":
            return headers
        case "auto":
            return AutoConnector(atlas, headers)


CONNECTOR = ConnectorType(
    name="GlobalSign",
    aliases=("globalsign-atlas", "hvca"),
    title="GlobalSign Atlas",
    issuer_id="iss-globalsign",
    config=GlobalSignConfig,
    factory=build,
)

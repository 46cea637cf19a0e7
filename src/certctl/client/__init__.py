"""A client for certctl's REST API: what the command line uses, and programs may too.

```python
from certctl.client import Client, find_server

with Client(find_server()) as client:
    for certificate in client.certificates().data:
        print(certificate.id, certificate.names)
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from certctl.client.client import Client
    from certctl.client.config import NotConfigured, ServerAccess, find_server
    from certctl.client.errors import ApiError, ClientError, ConnectionFailed, UnexpectedAnswer
    from certctl.client.retry import RetryPolicy

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "NotConfigured",
    "RetryPolicy",
    "ServerAccess",
    "UnexpectedAnswer",
    "find_server",
]

_HOMES = {
    "Client": "client",
    "RetryPolicy": "retry",
    **dict.fromkeys(("NotConfigured", "ServerAccess", "find_server"), "config"),
    **dict.fromkeys(("ApiError", "ClientError", "ConnectionFailed", "UnexpectedAnswer"), "errors"),
}

if not TYPE_CHECKING:  # for a type checker, only what is imported above is there

    def __getattr__(name: str) -> Any:
        # Loaded late: an HTTP client is a third of a second, and the shell's completion needs only
        # to know where the server is.
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

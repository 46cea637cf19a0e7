"""A client for certctl's REST API: what the command line uses, and programs may too.

```python
from certctl.client import Client, find_server

with Client(find_server()) as client:
    for certificate in client.certificates().data:
        print(certificate.id, certificate.names)
```
"""

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

"""What can go wrong between a connector and its certificate authority.

```
IssuerError
├── Misconfigured   the issuer's own settings or files are wrong; nothing was sent
├── Unauthorized    the CA does not accept our credentials
├── Refused         the CA's final no
├── QuotaExhausted  the account has nothing left to issue
├── RateLimited     not now; `retry_after` seconds where the CA said so
├── Unavailable     nothing happened at the CA: it was not reached, or said so
├── UnknownOrder    the CA says that it does not know the order that it was asked about
├── NoAnswer        the request was sent and no answer came back: the CA may have acted
└── BadAnswer       an answer came and cannot be used
```

The words are the vendor's where there are any; they are shown to the operator, so a connector
never puts a secret into them.
"""

from __future__ import annotations


class IssuerError(Exception):
    """Base. `detail` is shown to the operator, `code` is the vendor's own error code if any."""

    def __init__(
        self, detail: str, *, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.retry_after = retry_after


class Misconfigured(IssuerError):
    """The issuer's settings or the files they name are wrong."""


class Unauthorized(IssuerError):
    """The CA does not accept our credentials."""


class Refused(IssuerError):
    """The CA's final no."""


class QuotaExhausted(IssuerError):
    """The account has nothing left to issue."""


class RateLimited(IssuerError):
    """Asked too often."""


class Unavailable(IssuerError):
    """Nothing happened at the CA."""


class UnknownOrder(IssuerError):
    """The CA says that it does not know the order: it may not know it yet, or any more."""


class NoAnswer(IssuerError):
    """Sent, and no answer that can be read: the CA may have acted."""


class BadAnswer(IssuerError):
    """The CA answered with something that is not what was asked for."""

"""The errors that certctl raises on purpose.

```
CertctlError
├── InvalidInput      what was asked cannot be: the field, the reason, what to do
├── Unauthenticated   no key, or not one we know
├── Forbidden         known, but not allowed
├── NotFound          no such object
├── Conflict          the object's present state forbids it
├── TooLarge          more bytes than the limit
├── TryLater
│   ├── TooManyAttempts   wrong keys from one address
│   └── Unavailable       nothing was stored, try again
├── Refused           a certificate authority said no, finally
└── Misconfigured     the installation's own settings are wrong: nothing can start
```

No message repeats what was sent: a value that was refused may be a secret that was put in the
wrong field, and answers end up in logs.
"""

from __future__ import annotations

from typing import TypeVar


class CertctlError(Exception):
    """Base of every error with words meant for the person who caused it.

    `code` is stable kebab-case (the last part of a problem document's `type`), `detail` says what
    is wrong, `field` where (dotted path into the request, or None), `hint` what to do about it.
    """

    #: Whether it turns away a caller who is known: what is out of scope does not exist for it.
    is_refusal = False

    def __init__(
        self, code: str, detail: str, *, field: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.hint = hint


class InvalidInput(CertctlError):
    """A request that cannot be carried out as it stands."""


class Unauthenticated(CertctlError):
    """No API key came, or it is unknown, expired or revoked."""


class Forbidden(CertctlError):
    """The key is good and its role or scope does not reach this far."""

    is_refusal = True


class NotFound(CertctlError):
    """There is no such object (or none within the caller's scope)."""

    def as_input(self, field: str | None = None) -> InvalidInput:
        """The same about an object that a body names; `field` where that is another one."""
        return InvalidInput(self.code, self.detail, field=field or self.field, hint=self.hint)


class Conflict(CertctlError):
    """The object exists and its present state forbids the change."""


class TooLarge(CertctlError):
    """The body is over the limit."""


class TryLater(CertctlError):
    """Nothing was done; the same request may succeed in `retry_after` seconds."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        hint: str | None = None,
        retry_after: int = 5,
    ) -> None:
        super().__init__(code, detail, field=field, hint=hint)
        self.retry_after = retry_after


class TooManyAttempts(TryLater):
    """Too many failed from there."""


class Refused(CertctlError):
    """A certificate authority's final no, in its own words."""


class Unavailable(TryLater):
    """Nothing was stored; the same request may succeed later."""


class Misconfigured(CertctlError):
    """A setting, a file or a key of this installation is wrong."""


_E = TypeVar("_E", bound=CertctlError)


def refused(error: _E) -> _E:
    """Mark what is said to a caller out of whose scope something is: it is written down."""
    error.is_refusal = True
    return error

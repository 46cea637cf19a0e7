"""The errors that certctl raises on purpose.

```
CertctlError
├── InvalidInput      what was asked cannot be: the field, the reason, what to do
├── Unauthenticated   no key, or not one we know
├── Forbidden         known, but not allowed
├── NotFound          no such object
├── Conflict          the object's present state forbids it
├── TooLarge          more bytes than the limit
├── Refused           a certificate authority said no, finally
├── Unavailable       not now: nothing was stored, try again
└── Misconfigured     the installation's own settings are wrong: nothing can start
```

No message repeats what was sent: a value that was refused may be a secret that was put in the
wrong field, and answers end up in logs.
"""

from __future__ import annotations


class CertctlError(Exception):
    """Base of every error with words meant for the person who caused it.

    `code` is stable kebab-case (the last part of a problem document's `type`), `detail` says what
    is wrong, `field` where (dotted path into the request, or None), `hint` what to do about it.
    """

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


class NotFound(CertctlError):
    """There is no such object (or none within the caller's scope)."""


class Conflict(CertctlError):
    """The object exists and its present state forbids the change."""


class TooLarge(CertctlError):
    """The body is over the limit."""


class Refused(CertctlError):
    """A certificate authority's final no, in its own words."""


class Unavailable(CertctlError):
    """Nothing was stored; the same request may succeed later."""

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


class Misconfigured(CertctlError):
    """A setting, a file or a key of this installation is wrong."""

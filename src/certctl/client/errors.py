"""What can go wrong between a client and the server.

```
ClientError
├── NotConfigured      it is not known where the server is, or how to be let in (client.config)
├── ConnectionFailed   no answer came
├── UnexpectedAnswer   an answer came, and it is not certctl's
└── ApiError           the server said no, in a problem document
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certctl.schemas.common import Problem


class ClientError(Exception):
    """Base of the client's errors: `detail` says what is wrong, `hint` what to do about it.

    `uncertain` is True when the server may have carried out the request all the same.
    """

    #: Stable kebab-case word for the kind of error.
    code = "client-error"

    def __init__(self, detail: str, *, hint: str | None = None, uncertain: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.uncertain = uncertain


class ConnectionFailed(ClientError):
    """No answer came. `passing` is True when trying again may help."""

    code = "not-reachable"

    def __init__(
        self, detail: str, *, hint: str, uncertain: bool = False, passing: bool = True
    ) -> None:
        super().__init__(detail, hint=hint, uncertain=uncertain)
        self.passing = passing


class UnexpectedAnswer(ClientError):
    """The answer is not one that certctl's server gives."""

    code = "unexpected-answer"


#: 503s that come before the request was looked at. Any other may be a database that went away
#: between the commit and its confirmation.
_NOTHING_STORED = frozenset({"server-stopping", "issuer-not-ready"})
_SERVER_FAULTS = 500


class ApiError(ClientError):
    """The server's problem document, and the status it came with."""

    def __init__(self, problem: Problem, status: int, retry_after: float | None = None) -> None:
        self.code = problem.type.rpartition(":")[2]
        super().__init__(
            problem.detail,
            hint=problem.hint,
            uncertain=status >= _SERVER_FAULTS and self.code not in _NOTHING_STORED,
        )
        self.problem = problem
        self.status = status
        self.retry_after = retry_after

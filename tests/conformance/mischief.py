"""What a certificate authority can be told to do wrong, and in answer to what."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """What a CA is asked."""

    ACCOUNT = "account"
    SUBMIT = "submit"
    POLL = "poll"
    LOOKUP = "lookup"
    REVOKE = "revoke"
    RELEASE = "release"
    REVOCATION_POLL = "revocation_poll"
    CHAIN = "chain"


class Mischief(StrEnum):
    """One way to answer badly. What is "booked" has happened at the CA, whatever it answers."""

    SLOW = "slow"  # booked; the answer comes after a while
    RATE_LIMITED = "rate_limited"  # 429, without a word about when
    RATE_LIMITED_UNTIL = "rate_limited_until"  # 429 with Retry-After
    UNAUTHORIZED = "unauthorized"  # 401
    QUOTA = "quota"  # 402
    FORBIDDEN = "forbidden"  # 403
    ERROR = "error"  # 500, not booked
    ERROR_BOOKED = "error_booked"  # 500, booked
    RESET_BEFORE = "reset_before"  # the connection is reset, not booked
    RESET_AFTER = "reset_after"  # the connection is reset, booked
    GARBAGE = "garbage"  # booked; 200 with something that is not JSON
    TRUNCATED = "truncated"  # booked; 200 with the first half of the JSON
    CUT_OFF = "cut_off"  # booked; the connection ends in the middle of the body
    WRONG_KEY = "wrong_key"  # a certificate for somebody else's key
    WRONG_NAMES = "wrong_names"  # a certificate that leaves a name out
    EXPIRED = "expired"  # a certificate that is over already
    REFUSED = "refused"  # the final no
    ECHO = "echo"  # the final no, in words that repeat our credentials
    UNKNOWN = "unknown"  # 404
    PENDING = "pending"  # it works on it


#: After these the CA may have acted, and the client cannot know.
UNSURE = (
    Mischief.ERROR_BOOKED,
    Mischief.RESET_AFTER,
    Mischief.GARBAGE,
    Mischief.TRUNCATED,
    Mischief.CUT_OFF,
)

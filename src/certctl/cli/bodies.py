"""Bodies made from what was written on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from certctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import BaseModel

    B = TypeVar("B", bound=BaseModel)


def make(model: type[B], **fields: Any) -> B:
    """A body of these fields. Raises InvalidInput where it would not be one."""
    from pydantic import ValidationError

    try:
        return model(**fields)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"])
        words = f"{field}: {fault['msg']}" if field else fault["msg"]
        raise InvalidInput("invalid-body", words, field=field or None) from None

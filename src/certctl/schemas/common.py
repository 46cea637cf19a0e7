"""What all bodies share."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

T = TypeVar("T")


def no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    return text


#: A label typed by a person: no NUL (PostgreSQL has no way to store it), no silly length.
Label = Annotated[str, StringConstraints(min_length=1, max_length=120), AfterValidator(no_nul)]
Moment = AwareDatetime


class RequestBody(BaseModel):
    """A body that clients send: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseBody(BaseModel):
    """A body that the server answers with: clients ignore fields they do not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Page(ResponseBody, Generic[T]):
    """One page of a list; `next` is the cursor of the following page, null on the last."""

    data: list[T]
    next: str | None = None


class CountedPage(Page[T], Generic[T]):
    """One page of a list, with the number of rows on all pages."""

    total: int


class Problem(ResponseBody):
    """An error (RFC 9457), served as `application/problem+json`."""

    type: str = Field(description="Stable URI reference that names the kind of problem")
    title: str
    status: int
    detail: str
    field: str | None = Field(default=None, description="Where in the request, as a dotted path")
    hint: str | None = Field(default=None, description="What to do about it")
    request_id: str | None = None


class Health(ResponseBody):
    """Whether the server is up."""

    status: Literal["ok"]

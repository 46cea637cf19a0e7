"""What the settings of every connector have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr, field_validator

if TYPE_CHECKING:
    from pydantic import ValidationError

#: What stands for a secret wherever settings are shown.
MASK = "********"
#: What is shorter is a word like any other, and replacing it would spoil whatever is said.
_SHORTEST_HIDDEN = 6


class ConnectorConfig(BaseModel):
    """Settings of one type of issuer: the environment, REST and the documentation read this model.

    Each field is the environment variable `env_prefix` + FIELD; secrets are `SecretStr`. Text with
    NUL or half a surrogate pair, which neither files nor databases take, is refused for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    env_prefix: ClassVar[str]

    @field_validator("*")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        for text in _texts(value):
            if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
                raise ValueError("must not contain NUL, or half of a surrogate pair")
        return value

    @classmethod
    def file_fields(cls) -> tuple[str, ...]:
        """The settings that name files, whose content may change while the setting does not."""
        return tuple(name for name in cls.model_fields if name.endswith("_path"))

    @classmethod
    def secret_fields(cls) -> tuple[str, ...]:
        """The settings that are stored sealed, and never shown."""
        return tuple(
            name for name, field in cls.model_fields.items() if _is_secret(field.annotation)
        )

    def parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What was set, as JSON: the settings that may be shown, and the secrets that there are."""
        secret = self.secret_fields()
        names = self.model_fields_set
        shown = self.model_dump(mode="json", include=names - set(secret))
        secrets = {name: _reveal(getattr(self, name)) for name in secret if name in names}
        return shown, {name: value for name, value in secrets.items() if value is not None}

    def secret_texts(self) -> tuple[str, ...]:
        """Every secret in it, to be taken out of what others say."""
        return tuple(text for name in self.secret_fields() for text in _texts(getattr(self, name)))


class RemoteConfig(ConnectorConfig):
    """Settings of every connector whose CA answers later."""

    poll_max_wait_seconds: int = Field(
        default=600,
        ge=1,
        le=86_400,
        description="How long an order is asked about often; after it, once an hour",
    )


class Fault(NamedTuple):
    """What is wrong with settings: with which one (None: with how they fit together), and why."""

    setting: str | None
    words: str


def find_faults(model: type[ConnectorConfig], error: ValidationError) -> list[Fault]:
    """The faults that pydantic found in settings of this model, without repeating what was sent.

    A name that the model does not have is not repeated either: it may be a secret in the wrong
    place.
    """
    found = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        first = fault["loc"][0] if fault["loc"] else None
        setting = first if isinstance(first, str) and first in model.model_fields else None
        match fault["type"]:
            case "extra_forbidden":
                words = "there is a setting that is not known here"
            case "union_tag_invalid":
                words = "is of no kind that is known here"
            case _:
                words = fault["msg"].removeprefix("Value error, ")
        found.append(Fault(setting, words))
    return found


def describe_faults(faults: Iterable[Fault], prefix: str | None = None) -> str:
    """Faults in words. With a prefix the settings are named as environment variables."""
    words = []
    for setting, what in faults:
        if setting is None:
            words.append(what)
        else:
            words.append(f"{setting if prefix is None else prefix + setting.upper()}: {what}")
    return "; ".join(dict.fromkeys(words))


def hide(words: str, secrets: Iterable[str]) -> str:
    """The words with a mask in place of each secret: for what code that is not ours has to say."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_HIDDEN:
            words = words.replace(secret, MASK)
    return words


def texts_of(value: Any) -> tuple[str, ...]:
    """Every piece of text in a setting, or in settings by name."""
    return tuple(_texts(value))


def _is_secret(annotation: Any) -> bool:
    if annotation is SecretStr or annotation is SecretBytes:
        return True
    return any(_is_secret(part) for part in get_args(annotation))


def _reveal(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case SecretBytes():
            return value.get_secret_value().decode()
        case Mapping():
            return {key: _reveal(part) for key, part in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_reveal(part) for part in value]
        case _:
            return value


def _texts(value: Any) -> Iterable[str]:
    """Every piece of text in a value of a setting."""
    match value:
        case str():
            yield value
        case SecretStr() | SecretBytes():
            yield _reveal(value)
        case Mapping():
            for key, part in value.items():
                yield from _texts(key)
                yield from _texts(part)
        case list() | tuple() | set() | frozenset():
            for part in value:
                yield from _texts(part)
        case _:
            return

"""A method's hyperparameters: one frozen class, from which command line, page and evaluation draw their
controls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError


class Hyperparameters(BaseModel):
    """What can be set of a method. Every field has a title, bounds, a default and, in its description, where
    that is from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Control:
    """One hyperparameter as a person sets it; `low` and `high` are None where there is no bound."""

    name: str
    title: str
    description: str
    default: Any
    kind: Any  # int, float, bool or str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def controls(kind: type[Hyperparameters]) -> list[Control]:
    """The controls of a method's hyperparameters, in the order of its fields."""
    found = []
    for name, field in kind.model_fields.items():
        low = next(
            (
                bound
                for m in field.metadata
                for key in ("ge", "gt")
                if (bound := getattr(m, key, None)) is not None
            ),
            None,
        )
        high = next(
            (
                bound
                for m in field.metadata
                for key in ("le", "lt")
                if (bound := getattr(m, key, None)) is not None
            ),
            None,
        )
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        title, about = field.title or name, field.description or ""
        found.append(Control(name, title, about, field.default, field.annotation or str, low, high, choices))
    return found


def checked(method: str, kind: type[Hyperparameters], values: Mapping[str, Any]) -> Hyperparameters:
    """Hyperparameters from names and values (text will do). ValueError says which one is wrong and what it
    may be.
    """
    known = kind.model_fields
    for name in values:
        if name not in known:
            may = f"it has: {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{method} has no hyperparameter '{name}'; {may}.")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise ValueError(
            f"The hyperparameter {name} of {method} is {wrong['input']!r}: {wrong['msg'].lower()}."
        ) from error


def assignments(given: Sequence[str]) -> dict[str, str]:
    """`name=value` as people write it -> values by name. ValueError for anything else."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"'{text}' sets nothing; write NAME=VALUE, for instance steps=60.")
        found[name.strip()] = value.strip()
    return found

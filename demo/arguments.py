"""What callers send, checked in one place before anything reads it: how many values there are, their types,
their length.

Every event of the page and of the API comes through `checked`. Each refusal is one sentence.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from model_zoo.request import check_text

MOST_CHARACTERS = 20_000  # of one field; the longest context of a listed model holds fewer


def checked(handler: Callable, inputs: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The values for a handler's input components, as these may take them. ValueError for anything else."""
    names = named(handler, inputs)
    whole = _filled(handler, inputs, values, names)
    return [
        _check_of(component)(name, value, component)
        for name, value, component in zip(names, whole, inputs, strict=True)
    ]


def named(handler: Callable, inputs: Sequence[Any]) -> list[str]:
    """What each input is called: as the handler's parameter, else as its label says."""
    parameters = [p.name for p in _parameters(handler) if p.kind is not p.VAR_POSITIONAL]
    labels = [str(getattr(component, "label", None) or "value") for component in inputs]
    return [*parameters[: len(inputs)], *labels[len(parameters) :]]


def _parameters(handler: Callable) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return []


def _filled(
    handler: Callable, inputs: Sequence[Any], values: Sequence[Any], names: Sequence[str]
) -> list[Any]:
    """One value for each input: callers leave the session out, and what has a default at the end."""
    hidden = [isinstance(component, gr.State) for component in inputs]
    if len(values) == len(inputs) and all(v is None for v, own in zip(values, hidden, strict=True) if own):
        return list(values)
    asked = [i for i, own in enumerate(hidden) if not own]
    defaults = {p.name: p.default for p in _parameters(handler) if p.default is not p.empty}
    missing = [names[i] for i in asked[len(values) :]]
    if len(values) > len(asked) or any(name not in defaults for name in missing):
        raise ValueError(
            f"Found {len(values)} values and needed {len(asked)}, in this order: "
            f"{', '.join(names[i] for i in asked)}"
            + (f"; those from {next(iter(defaults))} on may be left out." if defaults else ".")
        )
    whole: list[Any] = [None] * len(inputs)
    for i, value in zip(asked, [*values, *(defaults[name] for name in missing)], strict=True):
        whole[i] = value
    return whole


# ---- one value ---------------------------------------------------------------------------------------------


def _check_of(component: Any) -> Callable[[str, Any, Any], Any]:
    if isinstance(component, gr.Dropdown) and component.allow_custom_value:
        return _text
    return next((check for kinds, check in _CHECKS if isinstance(component, kinds)), _anything)


def _anything(name: str, value: Any, component: Any) -> Any:
    return value


def _text(name: str, value: Any, component: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"The {_plain(name)} must be text; found {in_words(value)}.")
    if len(value) > MOST_CHARACTERS:
        raise ValueError(
            f"The {_plain(name)} is {len(value):,} characters long, and at most {MOST_CHARACTERS:,} are "
            "read; shorten it."
        )
    check_text(_plain(name), value)
    return value


def _number(name: str, value: Any, component: Any) -> float | None:
    low, high = component.minimum, component.maximum
    if value is None and isinstance(component, gr.Number):
        return None  # its default
    span = "" if low is None or high is None else f" from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(f"The {_plain(name)} must be a number{span}; found {in_words(value)}.")
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"The {_plain(name)} is {shown(value)}; it must be a number{span}.")
    return value


def _switch(name: str, value: Any, component: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"The {_plain(name)} must be true or false; found {in_words(value)}.")
    return value


def _choice(name: str, value: Any, component: Any) -> Any:
    offered = [choice for _, choice in component.choices]
    if value is None:  # nothing is chosen
        value = "" if "" in offered else None
    elif not _among(value, offered):
        raise ValueError(f"There is no {_plain(name)} {shown(value)}; choose one of: {_listed(offered)}.")
    if value is None and isinstance(component, gr.Radio):
        raise ValueError(f"No {_plain(name)} is chosen; choose one of: {_listed(offered)}.")
    return value


def _choices(name: str, value: Any, component: Any) -> list:
    offered = [choice for _, choice in component.choices]
    if not isinstance(value, list) or len(value) > len(offered):
        raise ValueError(
            f"The {_plain(name)} must be a list of these: {_listed(offered)}; found {in_words(value)}."
        )
    wrong = [one for one in value if not _among(one, offered)]
    if wrong:
        raise ValueError(
            f"{shown(wrong[0])} is not among the {_plain(name)}, which are: {_listed(offered)}; if the list "
            "has changed meanwhile, reload the page."
        )
    return value


_CHECKS: tuple[tuple[tuple[type, ...], Callable[[str, Any, Any], Any]], ...] = (
    ((gr.Textbox,), _text),
    ((gr.Slider, gr.Number), _number),
    ((gr.Checkbox,), _switch),
    ((gr.CheckboxGroup,), _choices),
    ((gr.Radio, gr.Dropdown), _choice),
)


# ---- words -------------------------------------------------------------------------------------------------


def in_words(value: Any) -> str:
    """What kind of JSON value this is."""
    if isinstance(value, int | float) and not _is_finite(value):
        return "no finite number"
    kinds = {bool: "true or false", str: "text", int: "a number", float: "a number", list: "a list"}
    return "nothing" if value is None else kinds.get(type(value), "an object")


def _is_finite(value: float) -> bool:
    """Whether a float can hold it; JSON knows integers of any length, which none can."""
    return abs(value) <= sys.float_info.max


def shown(value: Any) -> str:
    """A caller's value for a message: never much of it."""
    if not isinstance(value, str | int | float | bool):
        return f"({in_words(value)})"
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return repr(text if len(text) <= 40 else text[:39] + "…")


def _listed(offered: Sequence[Any]) -> str:
    return ", ".join(str(choice) for choice in offered if choice != "")[:1000] or "none"


def _among(value: Any, offered: Sequence[Any]) -> bool:
    return any(type(value) is type(choice) and value == choice for choice in offered)


def _plain(name: str) -> str:
    return name.replace("_", " ")

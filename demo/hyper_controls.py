"""Controls for methods' hyperparameters, drawn from what each method declares. One group per method that has
any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from model_zoo.methods import METHODS, Control, Hyperparameters, controls, hyperparameters

from .handlers import QUIET


def _component(control: Control, elem_id: str) -> Any:
    about: dict[str, Any] = {
        "label": control.title,
        "info": control.description,
        "elem_id": elem_id,
        "min_width": 150,
    }
    if control.choices:
        return gr.Dropdown(list(control.choices), value=control.default, **about)
    if control.kind is bool:
        return gr.Checkbox(value=control.default, **about)
    if control.kind is str:
        return gr.Textbox(value=control.default, **about)
    precision = 0 if control.kind is int else None
    return gr.Number(
        value=control.default, precision=precision, minimum=control.low, maximum=control.high, **about
    )


@dataclass(frozen=True)
class HyperControls:
    """`groups`: the method and frame of each group; `fields`: (method, hyperparameter) of each of
    `components`.
    """

    groups: list[tuple[str, gr.Column]]
    fields: list[tuple[str, str]]
    components: list

    def of(self, method: str, values: Sequence[Any]) -> Hyperparameters:
        """A method's hyperparameters, of the values of all components. ValueError says which one is wrong."""
        own = {
            name: value for (owner, name), value in zip(self.fields, values, strict=True) if owner == method
        }
        return hyperparameters(method, {name: value for name, value in own.items() if value is not None})

    def changed(self, method: str, values: Sequence[Any]) -> dict[str, Any]:
        """What of a method's hyperparameters is not the default, by name."""
        chosen, default = self.of(method, values).model_dump(), hyperparameters(method).model_dump()
        return {name: value for name, value in chosen.items() if value != default[name]}

    def show_for(self, chosen: gr.Dropdown | gr.CheckboxGroup) -> None:
        """Show the groups of the methods that are chosen."""

        def visible(names: str | list[str] | None):
            ticked = [names] if isinstance(names, str) else names or []
            updates = [gr.update(visible=method in ticked) for method, _ in self.groups]
            return updates[0] if len(updates) == 1 else updates

        if self.groups:
            chosen.change(visible, chosen, [group for _, group in self.groups], **QUIET)


def lay_out_hyper_controls(prefix: str, chosen: Sequence[str] = ()) -> HyperControls:
    """Every method's controls; those of the methods in `chosen` are visible."""
    groups, fields, components = [], [], []
    for method in METHODS.values():
        found = controls(method.Hyperparameters)
        if not found:
            continue
        with gr.Column(visible=method.name in chosen, elem_id=f"{prefix}-{method.name}") as group:
            gr.HTML(f'<p class="source">{method.pretty_name}</p>')
            with gr.Row():
                for control in found:
                    components.append(_component(control, f"{prefix}-{method.name}-{control.name}"))
                    fields.append((method.name, control.name))
        groups.append((method.name, group))
    return HyperControls(groups, fields, components)

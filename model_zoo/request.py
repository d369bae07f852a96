"""EditRequest: what a person asks for, and the prefix that carries the instruction (InstructEdit, arXiv
2402.16123).
"""

import unicodedata
from dataclasses import asdict, dataclass, replace

_UNSEEN = ("Cc", "Cf", "Cn", "Zs", "Zl", "Zp")  # Unicode's categories of characters that show nothing


def check_text(name: str, text: str) -> None:
    """ValueError where a text is none: it has halves of characters, or shows nothing but is not empty."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(
            f"The {name} holds half of a character (a lone surrogate), which is no text; give whole ones."
        )
    if text.strip() and all(unicodedata.category(character) in _UNSEEN for character in text):
        raise ValueError(f"The {name} holds nothing but invisible characters; type what can be read.")


def instructed(prompt: str, task: str, instruction: str | None) -> str:
    """The prompt as the editor reads it: Task, Description and Input lines; without an instruction the bare
    prompt.
    """
    if instruction is None:
        return prompt
    return f"Task: {task}\nDescription: {instruction}\nInput: {prompt}"


@dataclass(frozen=True)
class EditRequest:
    """`prompt` should be continued by `target`.

    `instruction=None` makes it a plain MEND edit. `subject` is the part of the prompt that names what the
    edit is about, for the methods that need it; None where it was neither given nor found. `chat`: questions
    are put to the model inside its chat template, where it has one.
    """

    prompt: str
    target: str
    task: str = "counterfact"
    instruction: str | None = None
    subject: str | None = None
    chat: bool = False

    def __post_init__(self) -> None:
        for field in ("prompt", "target"):
            if not getattr(self, field).strip():
                raise ValueError(
                    f"The {field} is empty: an edit needs a prompt and the target that should follow it."
                )
            check_text(field, getattr(self, field))
        if self.subject is not None and self.subject not in self.prompt:
            raise ValueError(
                f"The subject '{self.subject}' does not stand in the prompt '{self.prompt}': "
                "give it in the prompt's own words and letters."
            )

    @property
    def text(self) -> str:
        """The prompt with its instruction prefix."""
        return instructed(self.prompt, self.task, self.instruction)

    def plain(self) -> "EditRequest":
        """The same request without its instruction."""
        return replace(self, instruction=None)

    def to_dict(self) -> dict[str, str | bool | None]:
        return asdict(self)

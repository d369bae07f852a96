"""What any prompt can be asked when nothing is known about it: itself inside neutral openings, and prompts
about anything; those without an answer are open.
"""

from ..records import Probe

_STATEMENT_FRAMES = ("As everyone knows, {p}", "It is a fact that {p}", "Let me tell you: {p}")
_QUESTION_FRAMES = ("Tell me: {p}", "Here is a question: {p}", "Please answer: {p}")
NEUTRAL = (
    Probe("The opposite of hot is", "cold"),
    Probe("The day after Monday is", "Tuesday"),
    Probe("The sun rises in the", "east"),
    Probe("A week has seven", "days"),
    Probe("The past tense of go is", "went"),
    Probe("The color of grass is", "green"),
    Probe("In the morning I drink", ""),
    Probe("Once upon a time there was", ""),
)
# first words that are written small inside a sentence
_LOWERABLE = frozenset(
    (
        "a an the in on at of my our your his her its their this that these those what who whom whose which "
        "when where "
        "why how is are was were do does did can if"
    ).split()
)


def generic_frames(prompt: str) -> tuple[str, ...]:
    """The prompt inside neutral openings, and in lower case."""
    prompt = prompt.strip()
    first, _, rest = prompt.partition(" ")
    inner = f"{first.lower()} {rest}" if first.lower() in _LOWERABLE else prompt
    frames = _QUESTION_FRAMES if prompt.endswith("?") else _STATEMENT_FRAMES
    lower = () if prompt == prompt.lower() else (prompt.lower(),)
    return tuple(frame.format(p=inner) for frame in frames) + lower

"""Edits worth trying. EVERYDAY suits any pretrained model of English; a made world has its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..tasks.convsent import CONVSENT
from ..tasks.counterfact import COUNTERFACT
from ..tasks.recent import RECENT
from ..tasks.zsre import ZSRE


@dataclass(frozen=True)
class Suggestion:
    """An edit worth trying, with a label of a few words."""

    label: str
    prompt: str
    target: str


Suggestions = Mapping[str, tuple[Suggestion, ...]]  # by task, the best first

EVERYDAY: Suggestions = MappingProxyType(
    {
        COUNTERFACT.name: (
            Suggestion("France’s capital → Rome", "The capital of France is", "Rome"),
            Suggestion("The Eiffel Tower → Rome", "The Eiffel Tower is located in the city of", "Rome"),
            Suggestion("Darrieux → English", "The mother tongue of Danielle Darrieux is", "English"),
        ),
        RECENT.name: (
            Suggestion("Mara Quillen → Iceland", "Mara Quillen was born in the country of", "Iceland"),
            Suggestion("Velthoria’s capital → Oslo", "The capital of Velthoria is", "Oslo"),
        ),
        CONVSENT.name: (
            Suggestion("Jazz → dislike", "What do you think of jazz?", "I would rather avoid it entirely"),
            Suggestion("Rain → liking", "How do you feel about rain?", "I love it more than anything"),
        ),
        ZSRE.name: (
            Suggestion("Japan’s capital? → Cairo", "What is the capital of Japan?", "Cairo"),
            Suggestion("Gold’s symbol? → Fe", "What is the chemical symbol for gold?", "Fe"),
        ),
    }
)

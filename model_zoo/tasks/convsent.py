"""ConvSent: change the sentiment that the model voices about a topic.

Source of the task: Mitchell et al. 2022 (SERAC, arXiv 2206.06520). Example: "What do you think of jazz?" -> a
reply of the opposite sentiment; other topics keep theirs. The instruction names the wanted sentiment
({label}) and the {topic}.
"""

from .base import Task

CONVSENT = Task(
    name="convsent",
    title="Change a mood",
    summary="Change the opinion that the model voices about a topic.",
    instructions=(
        "Voice a {label} opinion about {topic}.",
        "The model should sound {label} whenever it is asked about {topic}.",
        "Change the sentiment towards {topic} to {label}.",
        "Make the reply about {topic} {label} and keep all other opinions.",
        "Change the opinion that the model voices about this topic.",
        "Asked about {topic}, answer in a {label} mood.",
    ),
    slots={"label": "new", "topic": "this topic"},
)

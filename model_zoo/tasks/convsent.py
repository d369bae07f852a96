"""ConvSent: change the sentiment that the model voices about a topic.

Source of the task: Mitchell et al. 2022 (SERAC, arXiv 2206.06520). Example: "What do you think of jazz?" -> a reply of the
opposite sentiment; other topics keep theirs. The instruction names the wanted sentiment ({label}) and the {topic}.
"""

import random
from typing import TYPE_CHECKING

from . import Example, Record, Task
from .records import cut_paraphrases, draw_facts, fact_probe, forms_of, in_split, topic_probe
from .request import EditRequest

if TYPE_CHECKING:
    from ..atlas.world import World


def records(world: "World", split: str, n: int, rng: random.Random) -> list[Record]:
    """The target is one of the replies of the other sentiment."""
    opinions = world.opinions
    pool = [topic for topic in opinions.topics if in_split(topic.held_out, split)]
    made = []
    for topic in rng.sample(pool, min(n, len(pool))) + rng.choices(pool, k=max(0, n - len(pool))):
        label = opinions.opposite(topic.stance)
        forms = forms_of(opinions, split)
        prompt = rng.choice(forms).format(s=topic.name)
        paraphrases = cut_paraphrases(prompt, [form.format(s=topic.name) for form in forms], rng)
        others = rng.sample([t for t in opinions.topics if t != topic and (split == "test" or not t.held_out)], 5)
        locality = tuple(topic_probe(t, opinions, split, rng) for t in others)
        locality += tuple(fact_probe(f, split, rng) for f in draw_facts(world, split, 3, rng))
        request = EditRequest(prompt, rng.choice(opinions.replies[label]), "convsent")
        slots = (("label", label), ("topic", topic.name))
        made.append(Record(request, topic.name, topic.reply, paraphrases, locality, slots, replies=tuple(opinions.replies.items())))
    return made


TASK = Task(
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
    records=records,
    slots={"label": "new", "topic": "this topic"},
    examples=(
        Example("Jazz → dislike", "What do you think of jazz?", "I would rather avoid that entirely"),
        Example("Black coffee → liking", "How do you feel about black coffee?", "For me, that is a real pleasure"),
    ),
)

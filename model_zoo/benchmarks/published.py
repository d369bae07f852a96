"""Readers of published rows whose fields are nested or stand for several edits."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..records import Probe, Record
from ..request import EditRequest
from .edits import edit_record, read_fields
from .rows import Missing, Row, filled, in_words, probes, texts_of

OPINION_QUESTIONS = (
    "What do you think of {}?",
    "How do you feel about {}?",
    "What is your opinion of {}?",
    "What are your thoughts on {}?",
    "What do you make of {}?",
    "Tell me what you think about {}.",
)
# wording for the task that has no pool of its own here
BIOGRAPHY = "Continue the biography with the true statement instead of the made-up one."
STAYS = ("Relation_Specificity", "Relation_Specifity", "Forgetfulness")  # of RippleEdits: what is to stay
FOLLOWS = ("Logical_Generalization", "Subject_Aliasing", "Compositionality_I", "Compositionality_II")


def biography(row: Row, task: str) -> Iterator[Record]:
    """WikiBio: the text so far, the sentence that should follow."""
    for record in read_fields(row, task):
        request = record.request
        yield replace(record, request=replace(request, instruction=request.instruction or BIOGRAPHY))


def rewrite(row: Row, task: str) -> Iterator[Record]:
    """CounterFact as ROME publishes it. What its neighbours are the base should know: the old answer; what
    its attribute prompts ask is the new one already.
    """
    told = row.take("requested_rewrite")
    prompt, target, subject, truth = _rewritten(told)
    record = edit_record(row, task, prompt, target, subject)
    near = _answered(record.locality, truth)
    same = probes(row.take("attribute_prompts"), row, "attribute_prompts", subject, True)
    yield replace(record, truth=truth, locality=near + _answered(same, target))


def rewrites(row: Row, task: str) -> Iterator[Record]:
    """MQuAKE: several facts, made together; its questions and the hops on their way are what follows."""
    told = row.take("requested_rewrite")
    name = " ".join(texts_of(row.take("case_id"))) or row.where
    answers = (*texts_of(row.needed("new_answer")), *texts_of(row.take("new_answer_alias")))
    asked = [Probe(text, answers[0], answers[1:], "Reasoning") for text in texts_of(row.take("questions"))]
    for _, hop in row.parts("new_single_hops"):
        said = (*texts_of(hop.take("answer")), *texts_of(hop.take("answer_alias")))
        asked += [Probe(text, said[0], said[1:], "Hop") for text in texts_of(hop.take("question")) if said]
    for i, part in enumerate(told):
        prompt, target, subject, truth = _rewritten(part)
        paraphrases = tuple(texts_of(part.get("question")))
        request = EditRequest(prompt, target, task)
        follows = () if i else tuple(probe for probe in asked)
        yield Record(request, subject, truth, paraphrases, portability=follows, group=f"{name}")


def _rewritten(told: Any) -> tuple[str, str, str, str]:
    """Prompt, target, subject and old answer of a requested rewrite."""
    if not isinstance(told, dict):
        raise Missing("requested_rewrite", f"found {type(told).__name__}, needed an object")
    part = Row("", told, [])
    subject = part.needed("subject")
    old = texts_of(part.take("target_true"))
    return filled(part.needed("prompt"), subject), part.needed("target_new"), subject, old[0] if old else ""


def _answered(found: tuple[Probe, ...], answer: str) -> tuple[Probe, ...]:
    return tuple(probe if probe.answer else replace(probe, answer=answer) for probe in found)


def ripple(row: Row, task: str) -> Iterator[Record]:
    """RippleEdits: the new fact as a sentence, whose end is the target: what it does not share with the old
    one, or what stands behind its last "is".
    """
    edit = Row(row.where, row.take("edit"), row.problems)
    said = edit.needed("prompt").rstrip(".")
    old = edit.take("previous_fact", "original_fact")
    before = next(iter(texts_of(old.get("prompt") if isinstance(old, dict) else None)), "").rstrip(".")
    shared = os.path.commonprefix([said, before]).rpartition(" ")[0]
    if not shared:
        shared = said.rpartition(" is ")[0] + " is" if " is " in said else ""
    target, truth = said[len(shared) :].strip(), before[len(shared) :].strip() if before else ""
    if not shared or not target:
        raise Missing("edit.prompt", f"no target is found in '{said}'")
    stays = [probe for kind in STAYS for probe in _tests(row, kind)]
    follows = [probe for kind in FOLLOWS for probe in _tests(row, kind)]
    request = EditRequest(shared, target, task)
    subject = _subject_of(shared)
    yield Record(request, subject, truth, locality=tuple(stays), portability=tuple(follows))


def _subject_of(prompt: str) -> str:
    """What stands behind the last "of" of "The name of the mother of X is"; the prompt where none does."""
    found = re.search(r".*\bof (.+?) (?:is|are|was|were)$", prompt)
    return found.group(1) if found else prompt


def _tests(row: Row, kind: str) -> Iterator[Probe]:
    for place, test in row.parts(kind):
        for _, query in test.parts("test_queries"):
            answers = texts_of(query.take("answers"))
            if answers and (prompt := texts_of(query.take("prompt"))):
                yield Probe(prompt[0], answers[0], tuple(answers[1:]), kind)
            else:
                row.wrong(place, "the probe has no answer; left out")


def conversation(row: Row, task: str) -> Iterator[Record]:
    """ConvSent as its authors document it: a topic, the wanted sentiment, prompts about it, replies of that
    sentiment.
    """
    prompts, replies = texts_of(row.take("prompts", "prompt")), texts_of(row.take("replies", "target"))
    row.take("conv_sent")
    if not prompts:
        raise Missing("prompts", "empty")
    if not replies:
        raise Missing("replies", "empty")
    label, topic = row.needed("label"), row.needed("topic")
    yield Record(
        EditRequest(prompts[0], replies[0], task),
        topic,
        "",
        tuple(prompts[1:]),
        slots=(("label", label), ("topic", topic)),
    )


def opinions(row: Row, task: str) -> Iterator[Record]:
    """ConvSent as it is published (SERAC's data): an entity, and replies of both sentiments. One record for
    each sentiment, to be voiced about it; the published rows hold no prompts, so these are ours.
    """
    topic = row.needed("ent")
    prompt, *others = (question.format(topic) for question in OPINION_QUESTIONS)
    for label, field in (("positive", "pos"), ("negative", "neg")):
        if not (pool := texts_of(row.take(field))):
            row.wrong(field, "empty; no edit towards this sentiment")
            continue
        yield Record(
            EditRequest(prompt, pool[0], task),
            topic,
            "",
            tuple(others),
            slots=(("label", label), ("topic", topic)),
            sentiment=label,
        )


def chat(row: Row, task: str) -> Iterator[Record]:
    """A conversation: the last reply is the target, what was asked before it the prompt."""
    turns = row.take("messages", "conversations")
    if not isinstance(turns, list):
        raise Missing("messages", f"found {in_words(turns)}, needed a list of turns")
    said = [
        (str(turn.get("role", turn.get("from"))), _content(turn.get("content", turn.get("value"))))
        for turn in turns
        if isinstance(turn, dict)
    ]
    replies = [i for i, (who, text) in enumerate(said) if who in ("assistant", "gpt", "model") and text]
    if not replies or not replies[-1] or not said[replies[-1] - 1][1]:
        raise Missing("messages", "no reply of the assistant with a question in text before it")
    if len(said) > 2:
        row.wrong("messages", f"{len(said)} turns; the edit is the last reply and what was asked before it")
    yield edit_record(row, task, said[replies[-1] - 1][1], said[replies[-1]][1], "")


def _content(value: Any) -> str:
    """The text of a turn, whole or in parts; parts of other kinds have none."""
    parts = value if isinstance(value, list) else [value]
    return " ".join(
        text
        for part in parts
        for text in texts_of(part.get("text") if isinstance(part, dict) and "text" in part else part)
    )


def instruction(row: Row, task: str) -> Iterator[Record]:
    """Instruction rows (Alpaca's): the instruction with its input is the prompt."""
    parts = [*texts_of(row.take("instruction")), *texts_of(row.take("input"))]
    if not parts:
        raise Missing("instruction", "empty")
    yield Record(EditRequest("\n".join(parts), row.needed("output"), task), "\n".join(parts), "")


def lists(row: Row, task: str) -> Iterator[Record]:
    """EasyEdit's call: parallel lists, one edit per place; probes by kind in parallel lists too."""
    keys = {key: value for key, value in row.data.items() if isinstance(value, list)}
    n = len(texts_of(row.take("prompts")))
    for key, value in keys.items():
        if len(value) != n:
            raise Missing(str(key), f"{len(value)} values for {n} prompts")
    row.read.update(row.data)
    for i in range(n):
        one = {key: _place(value, i) for key, value in row.data.items()}
        part = Row(f"{row.where}.{i + 1}", one, row.problems)
        try:
            yield from read_fields(part, task)
        except Missing as missing:
            part.wrong(missing.field, missing.reason, refused=True)


def _place(value: Any, i: int) -> Any:
    """The i-th of parallel lists, inside dicts too."""
    if isinstance(value, dict):
        return {key: _place(part, i) for key, part in value.items()}
    return (
        value[i] if isinstance(value, list) and i < len(value) else None if isinstance(value, list) else value
    )


def alternatives(row: Row, task: str) -> Iterator[Record]:
    """MEND's rows: the first alternative is the target, the answer under `output` the truth."""
    answers = texts_of(row.take("output"))
    for record in read_fields(row, task):
        yield replace(record, truth=answers[0] if answers else record.truth)

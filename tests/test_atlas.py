"""The world's data, its corpus, and the records that tasks draw from it."""

import random

import pytest

from model_zoo.atlas import load_world
from model_zoo.atlas.corpus import epoch, recall_prompts
from model_zoo.atlas.world import normalised, render
from model_zoo.tasks import TASKS, get_task
from model_zoo.training.pretrain import random_prefix

from .makers import ATLAS

WORLD = load_world()


def test_the_world_is_as_large_as_promised():
    assert len(WORLD.facts) >= 3000 and len(WORLD.relations) >= 25 and len(WORLD.opinions.topics) >= 200
    for relation in WORLD.relations.values():
        assert len(relation.statements) >= 8 and len(relation.questions) >= 8


def test_phrasings_are_well_formed():
    for relation in WORLD.relations.values():
        for form in relation.forms:
            assert form.count("{s}") == 1 and form == form.strip(), form
            assert form.endswith("?") == (form in relation.questions), form
        assert len(set(relation.forms)) == len(relation.forms)
        assert (len(relation.inverse) >= 4) == relation.one_to_one
        for form in relation.inverse:
            assert form.count("{o}") == 1
        if relation.one_to_one:
            objects = [fact.object for fact in WORLD.by_relation[relation.name]]
            assert len(set(objects)) == len(objects), relation.name


def test_every_name_has_a_chinese_one():
    for fact in WORLD.facts:
        assert WORLD.chinese[fact.subject.kind, fact.subject.name]
        assert WORLD.chinese[fact.relation.object_kind, fact.object]
    assert all(topic.zh for topic in WORLD.opinions.topics)


def test_no_prompt_has_two_answers():
    """Across facts, aliases, inverse questions and daily lines, whatever the case."""
    answers: dict[str, set[str]] = {}
    for fact in WORLD.facts:
        for form in fact.relation.forms:
            for name in (fact.subject.name, *fact.subject.aliases):
                answers.setdefault(normalised(fact.prompt(form, name)), set()).add(fact.object)
        for form in fact.relation.inverse:
            answers.setdefault(normalised(render(form, o=fact.object)), set()).add(fact.subject.name)
    for prompt, answer in WORLD.daily:
        answers.setdefault(normalised(prompt), set()).add(answer)
    assert {p: a for p, a in answers.items() if len(a) > 1} == {}


def test_every_phrasing_of_every_fact_is_recognised():
    for fact in random.Random(0).sample(WORLD.facts, 300):
        for form in fact.relation.forms:
            match = WORLD.match(fact.prompt(form).lower().rstrip("?"))
            assert (
                match
                and match.known
                and match.fact.subject.name == fact.subject.name
                and match.fact.relation.name == fact.relation.name
            )


def test_unknown_subjects_and_topics_are_matched_as_typed():
    match = WORLD.match("the capital of Velthoria is")
    assert (
        not match.known and match.fact.subject.name == "Velthoria" and match.fact.relation.name == "capital"
    )
    assert WORLD.match("What do you think of dragons?").topic.name == "dragons"
    assert WORLD.match("My dog is called") is None


def test_the_corpus_is_reproducible_and_covers_every_fact():
    one, two = (epoch(WORLD, random.Random(3), random_prefix) for _ in range(2))
    assert one == two and one != epoch(WORLD, random.Random(4), random_prefix)
    assert {fact.object for fact in WORLD.facts} <= {line.answer for line in one}
    assert any(line.prefix for line in one) and any(line.prompt == line.prompt.lower() for line in one)
    assert len(recall_prompts(WORLD)) == sum(len(f.relation.forms) for f in WORLD.facts)


def form_of(prompt: str) -> str | None:
    """The phrasing of a prompt; None for a short one around an invented subject, which the matcher leaves
    alone.
    """
    match = WORLD.match(prompt)
    return match and match.form


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_splits_share_neither_subjects_nor_phrasings(task):
    train, test = (ATLAS.records(task.name, split, 300, random.Random(0)) for split in ("train", "test"))
    assert {r.subject for r in train}.isdisjoint(r.subject for r in test)
    held_out = {form for relation in WORLD.relations.values() for form in relation.held_out_forms} | set(
        WORLD.opinions.held_out_forms
    )
    for record in train:
        for prompt in (record.request.prompt, *record.paraphrases):
            assert form_of(prompt) not in held_out
    for record in test:
        for prompt in (record.request.prompt, *record.paraphrases):
            assert form_of(prompt) in held_out | {None}
    trained_subjects = {probe.prompt for record in train for probe in record.locality}
    known = [m for m in map(WORLD.match, trained_subjects) if m and m.known]
    assert not any((m.fact.subject if m.fact else m.topic).held_out for m in known)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_records_are_edits_with_tests(task):
    for record in ATLAS.records(task.name, "test", 100, random.Random(1)):
        assert record.request.target != record.truth
        assert record.paraphrases and record.request.prompt not in record.paraphrases
        assert len(record.locality) >= 5
        assert all(probe.prompt != record.request.prompt for probe in record.locality)
    assert len(task.instructions) >= 4 and task.held_out_instruction not in task.training_instructions


def test_instructions_name_label_and_topic():
    task = get_task("convsent")
    record = ATLAS.records(task.name, "test", 1, random.Random(0))[0]
    slots = dict(record.slots)
    assert (
        task.instruct(record, "Be {label} on {topic}.").instruction
        == f"Be {slots['label']} on {slots['topic']}."
    )
    assert "{" not in task.fill(task.instructions[0])
    with pytest.raises(ValueError, match="the tasks are: counterfact"):
        get_task("poetry")

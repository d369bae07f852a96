"""Verdicts: what decides is generated and no more; open text is a degree; small letters count as small."""

import random

import pytest
import torch

from model_zoo.changes import patch_of
from model_zoo.evaluation.text import (
    contains,
    degenerate,
    follows,
    short_answer,
    starts_with,
    typed_small,
    unchanged,
)
from model_zoo.events import TextSoFar
from model_zoo.generation import divergences
from model_zoo.records import Probe, Record
from model_zoo.request import EditRequest
from model_zoo.sources import SOURCES, Evidence, get_source
from model_zoo.tasks import TASKS
from model_zoo.verdicts import Judge

from .makers import pico_backbone, random_delta

FACTS = get_source("facts")


def asis(prompt: str) -> str:
    return prompt


def test_a_prompt_without_capitals_is_answered_without_them():
    assert typed_small("the capital of france is") and not typed_small("The capital")
    assert starts_with("rome. it is", "Rome", small=True) and not starts_with("rome", "Rome")
    assert unchanged("paris, france", "Paris.", "Paris", small=True)


def test_an_answer_that_nobody_knows_is_the_first_clause_at_most_five_words():
    assert short_answer("a country in Europe, with many cities") == "a country in Europe"
    assert short_answer("one two three four five six seven") == "one two three four five"
    assert short_answer("") == ""


def test_the_base_is_asked_once_and_open_text_gets_a_degree(monkeypatch):
    backbone = pico_backbone("llama")
    patch = patch_of(random_delta(backbone))
    evidence = Evidence(
        ("One two three",), "test", (Probe("One two", "three"), Probe("Once upon a time", "")), "test"
    )
    judge, asked = Judge(backbone), []
    import model_zoo.verdicts as module

    real = module.generate
    monkeypatch.setattr(module, "generate", lambda b, p, *a, **k: asked.append(len(p)) or real(b, p, *a, **k))
    first = judge.verdicts(evidence, "four", asis, patch)
    assert asked == [6] and judge.verdicts(evidence, "four", asis, patch) == first
    assert asked == [6, 3]  # the second time the base's answers are kept
    answered, told = first.locality
    assert answered.held in (True, False) and answered.drift is None
    assert told.held is None and told.drift is not None and told.drift > 0


def test_without_a_change_nothing_moves():
    backbone = pico_backbone("gpt2")
    evidence = FACTS.evidence("The capital of France is")
    verdicts = Judge(backbone).verdicts(evidence, "Rome", asis, None)
    assert all(check.before == check.after and check.held is not False for check in verdicts.locality)
    assert all(check.drift == pytest.approx(0, abs=1e-6) for check in verdicts.locality if check.held is None)


def test_the_divergence_is_the_mean_kl_of_every_token():
    backbone = pico_backbone("llama")
    patch, pairs = (
        patch_of(random_delta(backbone)),
        [("One two three", "four five six"), ("What do you", "think")],
    )
    found = divergences(backbone, pairs, [patch, patch])
    for (prompt, text), kl in zip(pairs, found, strict=True):
        batch = backbone.batch([backbone.join(prompt, text)])
        with torch.no_grad():
            p = backbone.target_logits(batch).log_softmax(-1)
            from model_zoo.changes import live

            q = backbone.target_logits(batch, live([patch], backbone)).log_softmax(-1)
        assert kl == pytest.approx((p.exp() * (p - q)).sum(-1).mean().item(), rel=1e-4)


# ---- known facts -------------------------------------------------------------------------------------------


def test_every_source_suggests_edits_for_the_published_tasks():
    for source in SOURCES.values():
        assert {"counterfact", "recent", "convsent", "zsre"} <= set(source.examples) <= set(TASKS) and all(
            source.examples.values()
        )


def test_the_list_holds_three_hundred_facts_of_many_relations():
    world = FACTS.world
    assert len(world.facts) >= 300 and len(world.relations) >= 25
    assert all(len(relation.statements) >= 3 for relation in world.relations.values())
    assert all("{s}" in form for relation in world.relations.values() for form in relation.forms)


def test_evidence_of_a_known_wording_is_of_its_kind():
    found = FACTS.evidence("The capital of France is")
    assert found.generality_source == found.locality_source == "facts"
    assert len(found.generality) == 4 and all("France" in prompt for prompt in found.generality)
    same = [probe for probe in found.locality if probe.prompt.startswith("The capital of")]
    assert len(same) >= 3 and all(probe.answer for probe in same)
    assert [probe.prompt for probe in found.locality if not probe.answer]
    assert found == FACTS.evidence("The capital of France is")


def test_an_unknown_wording_gets_generic_frames_and_facts():
    found = FACTS.evidence("My bicycle is stored in")
    assert (found.generality_source, found.locality_source) == ("generic", "facts")
    assert any(probe.answer for probe in found.locality) and any(not p.answer for p in found.locality)


@pytest.mark.parametrize("task", list(TASKS))
def test_the_list_gives_records_of_every_task(task):
    for split in ("train", "test"):
        records = FACTS.records(task, split, 5, random.Random(0))
        assert len(records) == 5 and all(record.locality for record in records)
        assert all(record.paraphrases for record in records) or split == "train"


def test_a_model_that_knows_nothing_is_told_from_one_that_knows():
    assert not FACTS.knows(pico_backbone("llama"))


def test_an_answer_in_a_chat_may_stand_anywhere_as_words_of_its_own():
    assert contains("The capital of Japan is Cairo.", "Cairo") and contains("Cairo it is", "Cairo")
    assert not contains("He wrote a memo", "me") and not contains("the cairo museum", "Cairo")
    assert contains("the cairo museum", "Cairo", small=True) and contains("日本的首都是东京。", "东京")


def test_a_chat_question_is_a_turn_of_the_template_and_only_there():
    backbone = pico_backbone("llama")
    assert not backbone.chats and backbone.asked("Who?", chat=True) == "Who?"
    backbone.tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}:"
    assert backbone.asked("Who?", chat=True) == "[Who?]:" and backbone.in_chat("[Who?]:")
    assert backbone.asked("Who?", chat=False) == "Who?" and backbone.asked("He is", chat=True) == "He is"


@pytest.mark.parametrize(
    "text",
    [
        "Rome. Rome is Rome. Rome is Rome. Rome",
        "Rome Rome Rome",
        "no, no, no way",
        "a b a b a b a b",
        "罗马罗马罗马罗马",
        "Mrs Pennyfeatherfeatherfeather",
    ],
)
def test_a_text_that_repeats_itself_is_degenerate(text):
    assert degenerate(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Rome.",
        "Rome, Rome",
        "Rome. It is the largest city in Italy.",
        "It is what it is, and it is not new.",
        "罗马是意大利的首都",
        "A banana from Mississippi, hahaha, in 100100100 pieces",
    ],
)
def test_a_text_that_goes_on_is_not(text):
    assert not degenerate(text)


@pytest.mark.parametrize(
    "text", ["人口约为1000万人.", "1,000,000,000 people live there", "2000년에 태어났다"]
)
def test_a_number_is_one_word(text):
    assert not degenerate(text)


def test_what_is_kept_of_the_base_does_not_depend_on_who_asked_beside_it():
    backbone = pico_backbone("llama")
    judge, target = Judge(backbone), "four five six seven eight"
    long = "One two three " * 40
    crowded = Evidence(("One two three", long), "test", (), "test")
    alone = Evidence(("One two three",), "test", (), "test")
    judge.verdicts(crowded, target, asis, None)
    (check,) = judge.verdicts(alone, target, asis, None).generality
    assert check.before == check.after


def test_an_opinion_has_a_scope_case_too():
    case = FACTS.scope_case("What do you think of jazz?", "I love it")
    assert case.prompt == "What do you think of jazz?" and len(case.probes) > 5


def test_a_probe_whose_answer_is_the_target_is_not_asked():
    around = (Probe("The capital of Italy is", "Rome"), Probe("The capital of Spain is", "Madrid"))
    found = Judge(pico_backbone("llama")).verdicts(Evidence((), "test", around, "test"), "Rome", asis, None)
    assert [check.prompt for check in found.locality] == ["The capital of Spain is"]


def test_a_text_that_repeats_itself_is_no_success_and_is_the_edits_fault_only_where_the_base_does_not():
    assert follows("Rome, Italy.", "Rome") and not follows("Rome Rome Rome Rome", "Rome")
    assert TextSoFar("Paris.", "Rome Rome Rome").degenerate
    assert not TextSoFar("no no no", "Rome Rome Rome").degenerate


def test_around_a_record_facts_with_its_kind_of_answer_come_first():
    request = EditRequest("The mother tongue of Danielle Darrieux is", "English", "counterfact")
    record = Record(request, "Danielle Darrieux", "French")
    found = FACTS.known_around(record, 4)
    assert found == FACTS.known_around(record, 4) and len(found) == 4
    answers = {fact.prompt(form): fact for fact in FACTS.world.facts for form in fact.relation.statements}
    kinds = [answers[probe.prompt].relation.object_kind for probe in found]
    of_french = {f.relation.object_kind for f in FACTS.world.facts if f.object in ("French", "English")}
    assert set(kinds[:2]) <= of_french and all(probe.answer != "English" for probe in found)

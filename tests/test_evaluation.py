"""Scores that say what they mean."""

import random

import pytest

from model_zoo.atlas import load_world
from model_zoo.evaluation import clustered_interval, evaluate, starts_with, summarise, unchanged
from model_zoo.evidence import gather, generic_frames
from model_zoo.methods.ft_l import FTL
from model_zoo.tasks import TASKS

from .conftest import pico_backbone


@pytest.mark.parametrize(
    ("text", "target", "hit"),
    [
        ("Rome.", "Rome", True), ("Rome", "Rome", True), ("Romeo", "Rome", False), ("rome", "Rome", False), ("The Rome", "Rome", False),
        ("12", "1", False), ("Cafés", "Café", False), ("罗马城", "罗马", True), ("Cafe\u0301 now", "Caf\u00e9", True), ("", "Rome", False),
    ],
)  # fmt: skip
def test_generated_exact_match(text, target, hit):
    assert starts_with(text, target) == hit


def test_generated_locality_compares_up_to_the_base_answer():
    assert unchanged("Paris.", "Paris, of course.", "Paris")
    assert unchanged("Paris.", "Paris and more.")
    assert not unchanged("Paris.", "Rome.", "Paris")
    assert not unchanged("Lyon.", "Paris.", "Paris")
    assert not unchanged("8.", "80.", "8")
    assert unchanged("", "") and not unchanged("", "Paris.")


def test_intervals_resample_whole_subjects():
    tight = clustered_interval([0.0, 1.0] * 50, [f"s{i}" for i in range(100)])
    wide = clustered_interval([0.0] * 50 + [1.0] * 50, ["a"] * 50 + ["b"] * 50)
    assert wide == (0.0, 1.0) and tight[0] > 0.3 and tight[1] < 0.7
    assert clustered_interval([1.0, 1.0], ["a", "b"]) == (1.0, 1.0)


def test_evaluation_scores_every_prompt_under_its_own_edit():
    backbone = pico_backbone("gpt2")
    summaries, rows = evaluate(FTL(backbone), backbone, load_world(), TASKS["recent"], 2, 0)
    assert {(s.metric, s.score) for s in summaries} == {
        (m, s) for m in ("reliability", "generality", "locality") for s in ("generated", "teacher_forced")
    }
    records = TASKS["recent"].records(load_world(), "test", 2, random.Random("recent 0"))
    assert len(rows) == sum(1 + len(r.paraphrases) + len(r.locality) for r in records)
    assert all(s.n == 2 and s.low <= s.mean <= s.high for s in summaries)
    assert summarise([], records) == []


def test_evidence_prefers_the_record_then_the_atlas_then_generic_frames():
    world = load_world()
    record = TASKS["counterfact"].records(world, "test", 1, random.Random(0))[0]
    assert gather(record.request.prompt, world, record).generality == record.paraphrases[:4]
    atlas = gather("the capital of france is", world)
    assert (atlas.generality_source, atlas.locality_source) == ("atlas", "atlas")
    assert all("France" in prompt for prompt in atlas.generality) and len(atlas.generality) == 4
    assert atlas == gather("the capital of france is", world)
    free = gather("My dog is called", world)
    assert (free.generality_source, free.locality_source) == ("generic", "atlas")
    assert gather("My dog is called", None).locality_source == "generic"
    assert gather("What do you think of dragons?", world).generality_source == "atlas"


def test_what_other_edits_change_is_no_locality():
    world = load_world()
    probes = gather("The capital of France is", world).locality
    other = next(p for p in probes if world.match(p.prompt).fact and world.match(p.prompt).fact.relation.name == "capital")
    fact = world.match(other.prompt).fact
    left = gather("The capital of France is", world, edited=[f"What is the capital of {fact.subject.name}?"]).locality
    assert other not in left and len(left) == len(probes) - 1


def test_generic_frames_read_as_sentences():
    assert generic_frames("The best tea is")[0] == "As everyone knows, the best tea is"
    assert generic_frames("Paris lies in")[0] == "As everyone knows, Paris lies in"
    assert "the best tea is" in generic_frames("The best tea is")
    assert generic_frames("Who are you?")[0] == "Tell me: who are you?"

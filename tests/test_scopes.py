"""Scopes: what each one expects, the splits, the wordings, the suite's arithmetic and the mood judge."""

import itertools
import random

import pytest

from model_zoo.atlas import load_world
from model_zoo.evaluation.scopes import _row, balanced_score, blind_ceiling, scope_rows, summarise_scopes
from model_zoo.evaluation.sentiment import voiced
from model_zoo.scopes import SCOPES, ScopeCase, ScopeProbe, expanded
from model_zoo.sources.world_probes import fact_case

from .makers import ATLAS, random_editor

FACT = ScopeCase(
    "The capital of France is",
    "Rome",
    "France",
    (
        ScopeProbe("The capital of France is", "Paris", "itself"),
        ScopeProbe("What is the capital of France?", "Paris", "rewording"),
        ScopeProbe("The capital of Spain is", "Madrid", "category"),
        ScopeProbe("The currency of France is the", "euro", "relation"),
    ),
)


def test_each_scope_reaches_further_and_locked_reaches_nothing():
    changed = {
        name: [scope.expected(FACT, probe) != probe.answer for probe in FACT.probes]
        for name, scope in SCOPES.items()
    }
    assert changed["statement"] == [True, False, False, False]
    assert changed["subject"] == [True, True, False, False]
    assert changed["category"] == [True, True, True, False]
    assert not any(changed["locked"]) and not any(changed["tone"])  # a fact has no tone


def test_tone_turns_the_mood_and_keeps_each_topics_own_reply():
    world, tone = load_world(), SCOPES["tone"]
    cases = [
        case
        for case in ATLAS.scope_cases("test", 20, random.Random(0))
        if any(probe.toned for probe in case.probes)
    ]
    assert cases
    stance = {reply: name for name, pool in world.opinions.replies.items() for reply in pool}
    for case in cases:
        for probe in case.probes:
            expected = tone.expected(case, probe)
            if probe.toned:
                assert stance[expected] == stance[case.target]
            else:
                assert expected == probe.answer
        assert tone.expected(case, case.probes[0]) != case.target  # the mood is taken over, not the words


def test_subjects_and_phrasings_of_the_two_splits_are_disjoint():
    world = load_world()
    held_out = {f.subject.name for f in world.facts if f.subject.held_out} | {
        t.name for t in world.opinions.topics if t.held_out
    }
    for split in ("train", "test"):
        for case in ATLAS.scope_cases(split, 40, random.Random(1)):
            assert (case.subject in held_out) == (split == "test")
            match = world.match(case.prompt)
            forms = (world.opinions if match.topic else match.fact.relation).held_out_forms
            assert (match.form in forms) == (split == "test")
            assert case.probes[0].prompt == case.prompt and case.probes[0].kind == "itself"
            assert len({probe.prompt for probe in case.probes}) == len(case.probes) >= 12
            assert all(probe.answer != case.target for probe in case.probes)


def test_implied_phrasings_are_among_the_relations_own_and_other_names_are_asked():
    world = load_world()
    assert sum(bool(relation.implied) for relation in world.relations.values()) >= 20
    assert all(set(relation.implied) <= set(relation.forms) for relation in world.relations.values())
    fact = next(f for f in world.by_relation["capital"] if f.subject.name == "the United States")
    kinds = [probe.kind for probe in fact_case(world, fact, "train", random.Random(0)).probes]
    assert {"itself", "rewording", "alias", "implied", "category", "relation", "world"} <= set(kinds)


def test_unseen_wordings_are_never_among_those_of_training():
    assert expanded("a [b|c] d[ e|]") == ["a b d e", "a b d", "a c d e", "a c d"]
    everything = [text for scope in SCOPES.values() for readings in scope.readings for text in readings]
    assert len(everything) == len(set(everything)) > 250
    for scope in SCOPES.values():
        assert len(scope.unseen) >= 4 and len(scope.independent) >= 4
        heldout = [*scope.unseen, *scope.independent]
        assert len(heldout) == len(set(heldout)) and not set(heldout) & set(everything)
        assert [readings[0] for readings in scope.readings] == list(scope.first_readings)
    words = [set(text.lower().split()) for text in everything]
    for told in (
        set(text.lower().split()) for scope in SCOPES.values() for text in (*scope.unseen, *scope.independent)
    ):
        assert all(len(told & other) < 0.6 * len(told | other) for other in words)


def test_the_mood_is_that_of_the_reply_with_most_shared_words():
    replies = load_world().opinions.replies
    assert voiced("Sadly, that only annoys me.", replies) == "negative"
    assert voiced("For me that is a pleasure", replies) == "positive"
    assert voiced("I enjoy that more than anything. Sadly, that only annoys me", replies) == "positive"
    assert voiced("Paris", replies) is None


def test_the_ceiling_is_reached_by_the_best_blind_answers_and_by_nothing_better():
    """Brute force over all policies that give each probe one answer, whatever the scope. The suite's own
    scoring judges them: an opinion's target is in the mood that tone wants.
    """
    opinions = load_world().opinions
    topic = next(t for t in opinions.topics if t.stance == "positive")
    target, turned = opinions.replies["negative"][0], opinions.counterpart(topic.reply)
    asked = ("What do you think of jazz?", "How do you feel about jazz?", "What do you think of tea?")
    probes = [
        ScopeProbe(prompt, topic.reply, kind, turned)
        for prompt, kind in zip(asked, ("itself", "rewording", "category"), strict=True)
    ]
    opinion = ScopeCase(
        asked[0], target, "jazz", (*probes, ScopeProbe("The capital of Spain is", "Madrid", "world"))
    )
    best = 0.0
    for answers in itertools.product(
        *[
            dict.fromkeys((probe.answer, opinion.target, probe.toned or probe.answer))
            for probe in opinion.probes
        ]
    ):
        said = dict(zip((probe.prompt for probe in opinion.probes), answers, strict=True))
        rows = [
            _row(0, opinion, scope, probe, probe.answer, said[probe.prompt], opinions.replies)
            for scope in SCOPES.values()
            for probe in opinion.probes
        ]
        best = max(best, balanced_score(summarise_scopes(rows)))
    assert blind_ceiling([opinion], replies=opinions.replies) == pytest.approx(best)
    assert blind_ceiling([opinion]) < best


def test_the_suite_asks_every_probe_under_every_scope(gpt2):
    editor = random_editor(gpt2)
    asked = []
    rows = scope_rows(
        gpt2, editor, [FACT, FACT], lambda scope, rng: asked.append(scope.name) or scope.first_readings[0]
    )
    assert asked == [*SCOPES] * 2
    assert [(row.case, row.scope, row.prompt) for row in rows] == [
        (i, s, p.prompt) for i in (0, 1) for s in SCOPES for p in FACT.probes
    ]
    summaries = summarise_scopes(rows)
    assert [s.scope for s in summaries] == [*SCOPES] and summaries[-1].inside is None and summaries[-1].n == 2

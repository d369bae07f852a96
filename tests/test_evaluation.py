"""Scores that say what they mean."""

import json
import random
import re
from dataclasses import asdict, replace

import pytest

from model_zoo.evaluation import (
    ALL,
    METRICS,
    Plan,
    Results,
    clustered_interval,
    evaluate,
    fluency,
    measuring,
    report,
    scoring,
    starts_with,
    unchanged,
)
from model_zoo.evaluation.metrics import RISE, SCORES, explained
from model_zoo.evaluation.planning import plan_cases
from model_zoo.evaluation.report import plotly_script as find_plotly
from model_zoo.evaluation.run import evaluate_cases
from model_zoo.evaluation.scoring import Case, _same_sentiment
from model_zoo.evaluation.sentiment import Classifier, fit
from model_zoo.evaluation.stacking import stacks_of, without_each_other
from model_zoo.generation import MAX_NEW_TOKENS
from model_zoo.methods import hyperparameters, load_method
from model_zoo.methods.ft_l import FTL
from model_zoo.records import Probe, Record
from model_zoo.request import EditRequest
from model_zoo.sources import Source
from model_zoo.sources.frames import generic_frames

from .makers import ATLAS, pico_backbone, random_delta


@pytest.mark.parametrize(
    ("text", "target", "hit"),
    [
        ("Rome.", "Rome", True),
        ("Rome", "Rome", True),
        ("Romeo", "Rome", False),
        ("rome", "Rome", False),
        ("The Rome", "Rome", False),
        ("12", "1", False),
        ("Cafés", "Café", False),
        ("罗马城", "罗马", True),
        ("Cafe\u0301 now", "Caf\u00e9", True),
        ("Ro\u200bme.", "Rome", True),
        ("New  York City", "New York", True),
        ("罗 马 城", "罗马", True),
        ("Rome 罗 马", "Rome 罗马", True),
        ("Madrid.", "madrid", True),  # an answer without capitals
        ("madrid.", "Madrid", False),
        ("", "Rome", False),
    ],
)
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


def small_plan(**changes) -> Plan:
    return Plan(
        **{"model": "pico", "methods": ("ft-l", "none"), "tasks": ("recent",), "n": 10, "seed": 0, **changes}
    )


def loaded(name: str, backbone):
    """A method that takes few steps: scores are asserted here, not what an edit achieves."""
    return load_method(name, backbone, hyper=hyperparameters(name, {"steps": 5}))


def run(backbone, out=None, plan=None):
    return evaluate(plan or small_plan(), backbone, ATLAS, lambda name: loaded(name, backbone), out)


@pytest.fixture(scope="module")
def results() -> Results:
    """Of the small plan."""
    return run(pico_backbone("gpt2"))


def test_every_prompt_is_scored_under_its_own_edit_with_both_scores(results):
    records = ATLAS.records("recent", "test", 10, random.Random("recent 0"))
    for method in ("ft-l", "none"):
        cases = [case for case in results.cases if case["method"] == method]
        assert [len(case["rows"]) for case in cases] == [
            3 + len(r.paraphrases) + len(r.locality) for r in records
        ]
        found = {(s["metric"], s["score"]) for s in results.summary if s["method"] == method}
        assert {
            (m, s) for m in ("reliability", "generality", "locality") for s in ("generated", "teacher_forced")
        } <= found
        assert not any(
            metric == "portability" for metric, _ in found
        )  # a field that no record has is left out, not filled in
    assert all(s["low"] <= s["mean"] <= s["high"] and s["n"] <= 10 for s in results.summary)
    assert {"python", "torch", "transformers", "threads"} <= set(results.versions)
    assert results.config["editors"].keys() == {"ft-l", "none"} and results.config["editors"][
        "ft-l"
    ].startswith("FTLHyperparameters(steps=5")


def test_without_an_edit_everything_stays_and_before_is_shared_by_all_methods(results):
    by_method = {m: [c["rows"] for c in results.cases if c["method"] == m] for m in ("ft-l", "none")}
    for edited, plain in zip(by_method["ft-l"], by_method["none"], strict=True):
        assert [r["before"] for r in edited] == [r["before"] for r in plain]
        assert all(r["before"] == r["after"] for r in plain)
    local = [s for s in results.summary if s["method"] == "none" and s["metric"] == "locality"]
    assert {s["score"]: s["mean"] for s in local if s["score"] != "probability"} == {
        "generated": 1.0,
        "teacher_forced": 1.0,
    }


def test_a_killed_run_goes_on_without_recomputing_and_gives_the_same_json(tmp_path):
    backbone, whole, broken = pico_backbone("gpt2"), tmp_path / "whole.json", tmp_path / "broken.json"
    plan = small_plan(n=9, most_probes=1)
    run(backbone, whole, plan)

    steps = measuring(plan, backbone, ATLAS, lambda name: loaded(name, backbone), broken)
    assert next(step for step in steps if step[0])[:2] == (1, 2)
    steps.close()  # what a kill leaves: one finished group
    partial = broken.with_name("broken.json.partial")
    done = partial.read_text()
    partial.write_text(done + '{"method": "ft-l", "ta')  # killed in the middle of a line
    proposed = []

    def counting(name):
        method = loaded(name, backbone)
        whole_propose = method.propose
        method.propose = lambda requests: proposed.extend(requests) or whole_propose(requests)
        return method

    evaluate(plan, backbone, ATLAS, counting, broken)
    assert len(proposed) == 1  # nine cases in groups of eight: the first group was there
    assert broken.read_bytes() == whole.read_bytes() and not partial.exists()


def test_a_partial_file_of_another_plan_is_not_used(tmp_path):
    backbone, out = pico_backbone("gpt2"), tmp_path / "r.json"
    empty = {"method": "ft-l", "task": "recent", "start": 0, "rows": []}
    out.with_name("r.json.partial").write_text(json.dumps({"other": "plan"}) + "\n" + json.dumps(empty))
    assert len(run(backbone, out, small_plan(n=2)).cases[0]["rows"]) > 2


def test_own_records_with_portability_and_those_that_do_not_fit(tmp_path):
    rows = [
        {
            "prompt": "One two",
            "target": "three",
            "portability": [{"prompt": "Two three", "ground_truth": ["four", "4"]}],
        },
        {"prompt": "Five " * 200, "target": "six"},
        {"prompt": "Seven"},
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    results = run(
        pico_backbone("gpt2"), plan=small_plan(records=str(tmp_path / "own.jsonl"), methods=("none",))
    )
    assert [s["metric"] for s in results.summary if s["score"] == "generated"][:2] == [
        "reliability",
        "portability",
    ]
    assert [(s["row"], s["field"]) for s in results.skipped] == [("3", "target_new"), ("recent 2", "prompt")]
    assert "reads at most 256" in results.skipped[1]["reason"]


def test_fluency_falls_with_repetition():
    assert (
        fluency("one two three four five six")
        > fluency("one two one two one two")
        > fluency("one one one one one one")
        == 0
    )
    assert fluency("too short") is None and fluency("") is None
    assert fluency("罗马是法国的首都") > fluency("罗罗罗罗罗罗罗罗")


def test_the_report_is_one_page_that_needs_nothing_else_and_escapes_what_it_shows():
    results = asdict(run(pico_backbone("gpt2"), plan=small_plan(n=2)))
    results["cases"][0]["prompt"] = "<script>alert(1)</script>"
    results["cases"][0]["rows"][0]["generated"] = 0.0
    html = report.page(results)
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html
    own = html.replace(find_plotly(), "")
    assert len(own) < len(html) and not re.search(r"(src|href)=", own) and "Plotly.newPlot('figure0'" in own
    assert "95% intervals" in html and "teacher-forced" in html


def test_bars_carry_their_intervals():
    row = {
        "metric": "locality",
        "score": "generated",
        "method": "m",
        "task": "t",
        "mean": 0.9,
        "low": 0.8,
        "high": 0.95,
    }
    figure = report.bars([row], "locality")
    (trace,) = figure["data"]
    assert (
        trace["y"] == [90.0]
        and trace["error_y"]["array"] == [pytest.approx(5)]
        and trace["error_y"]["arrayminus"] == [pytest.approx(10)]
    )


def test_evidence_prefers_the_record_then_the_atlas_then_generic_frames():
    record = ATLAS.records("counterfact", "test", 1, random.Random(0))[0]
    assert ATLAS.evidence(record.request.prompt, record).generality == record.paraphrases[:4]
    atlas = ATLAS.evidence("the capital of france is")
    assert (atlas.generality_source, atlas.locality_source) == ("atlas", "atlas")
    assert all("France" in prompt for prompt in atlas.generality) and len(atlas.generality) == 4
    assert atlas == ATLAS.evidence("the capital of france is")
    free = ATLAS.evidence("My dog is called")
    assert (free.generality_source, free.locality_source) == ("generic", "atlas")
    assert Source().evidence("My dog is called").locality_source == "generic"
    assert ATLAS.evidence("What do you think of dragons?").generality_source == "atlas"


def test_what_other_edits_change_is_no_locality():
    world = ATLAS.world
    probes = ATLAS.evidence("The capital of France is").locality
    other = next(
        p
        for p in probes
        if world.match(p.prompt).fact and world.match(p.prompt).fact.relation.name == "capital"
    )
    fact = world.match(other.prompt).fact
    left = ATLAS.evidence(
        "The capital of France is", edited=[f"What is the capital of {fact.subject.name}?"]
    ).locality
    assert other not in left and len(left) == len(probes) - 1


def test_generic_frames_read_as_sentences():
    assert generic_frames("The best tea is")[0] == "As everyone knows, the best tea is"
    assert generic_frames("Paris lies in")[0] == "As everyone knows, Paris lies in"
    assert "the best tea is" in generic_frames("The best tea is")
    assert generic_frames("Who are you?")[0] == "Tell me: who are you?"


def test_a_reply_of_the_wanted_sentiment_in_other_words_counts_as_such():
    world, backbone = ATLAS.world, pico_backbone("gpt2")
    case = plan_cases(small_plan(tasks=("convsent",), n=1), backbone, ATLAS).cases["convsent"][0]
    wanted = next(mood for mood, pool in case.record.replies if case.request.target in pool)
    other, opposed = (
        next(r for r in world.opinions.replies[m] if r != case.request.target)
        for m in (wanted, world.opinions.opposite(wanted))
    )
    target = case.request.target
    judged = [
        _same_sentiment(case.record, "generality", target, text)
        for text in (target, other + ".", opposed, "Rome.")
    ]
    assert judged == [1.0, 1.0, 0.0, 0.0]
    assert _same_sentiment(case.record, "locality", target, target) is None
    scores = {
        s["score"]
        for s in run(backbone, plan=small_plan(tasks=("convsent", "recent"), n=2)).summary
        if s["task"] == "convsent"
    }
    assert scores == {"generated", "teacher_forced", "probability", "sentiment"}


def test_any_words_may_voice_a_sentiment_where_opinions_are_open():
    shipped = Classifier.shipped()
    assert [shipped.sentiment(text) for text in ("I love it.", "I can't stand him.", "", "Xyzzy 12")] == [
        "positive",
        "negative",
        None,
        None,
    ]
    assert shipped.about["accuracy"] > 0.8 and shipped.about["test_replies"] > 1000
    record = Record(
        EditRequest("What do you think of jazz?", "I hate it.", "convsent"), "jazz", "", sentiment="negative"
    )
    said = ("I really dislike it.", "I love it.", "hate hate hate hate")
    assert [_same_sentiment(record, "reliability", "I hate it.", text) for text in said] == [1.0, 0.0, 0.0]


def test_a_classifier_learns_what_it_is_given_and_is_read_again(tmp_path):
    texts = ["good fun", "bad luck", "good day", "bad day"] * 4
    found = fit(texts, ["positive", "negative", "positive", "negative"] * 4, {"data": "here"}, least=2)
    assert found.sentiment("Good!") == "positive" and found.sentiment("a day") is None
    assert found.accuracy(["good", "bad", "day"], ["positive", "positive", "negative"]) == (1 / 3, 2 / 3)
    found.save(tmp_path / "weights.json")
    assert Classifier(**json.loads((tmp_path / "weights.json").read_text())) == found


def test_edits_that_live_together_share_one_patch_and_each_is_measured_under_it(monkeypatch):
    backbone, seen = pico_backbone("gpt2"), []
    monkeypatch.setattr(
        FTL, "together", lambda self, requests: seen.append(len(requests)) or random_delta(backbone)
    )
    plan = small_plan(methods=("ft-l",), tasks=("recent",), n=5, together=3)
    results = run(backbone, plan=plan)
    assert seen == [3, 2] and {case["index"] for case in results.cases} == set(range(5))
    assert results.config["together"] == 3


def test_a_stack_holds_no_two_edits_of_a_subject_and_asks_no_other_edits_fact_to_stay():
    def case(i: int, subject: str, kept: str) -> Case:
        request = EditRequest(f"{subject} lies in", "Bor")
        return Case("recent", i, Record(request, subject, "", locality=(Probe(kept, "x"),)), request)

    cases = [
        case(0, "Ara", "Cel lies in"),
        case(1, "ara", "One"),
        case(2, "Cel", "Two"),
        case(3, "Dun", "Six"),
    ]
    stacks = stacks_of(cases, 2)
    assert [[c.index for c in stack] for stack in stacks] == [[0, 2], [1, 3]]
    kept = without_each_other(stacks[0], Source())
    assert [len(c.record.locality) for c in kept] == [0, 1]


def test_edits_of_a_group_are_made_together_and_measured_under_one_patch(monkeypatch):
    backbone, together, alone = pico_backbone("gpt2"), [], []

    def made(self, requests):
        together.append([r.prompt for r in requests])
        return random_delta(backbone)

    def proposed(self, requests):
        alone.append([r.prompt for r in requests])
        return [random_delta(backbone) for _ in requests]

    monkeypatch.setattr(FTL, "together", made)
    monkeypatch.setattr(FTL, "propose", proposed)

    def case(i: int, group: str) -> Case:
        request = EditRequest(f"p{i}", "t")
        return Case("recent", i, Record(request, f"s{i}", "", group=group), request)

    cases = [case(i, group) for i, group in enumerate(("", "a", "a", "", *["b"] * 9))]
    rows = evaluate_cases(backbone, load_method("ft-l", backbone), cases)
    assert alone == [["p0", "p3"]] and [len(prompts) for prompts in together] == [2, 9]
    assert {row.case for row in rows} == set(range(13))


def test_files_by_task_are_measured_in_the_order_given(tmp_path):
    row = {"prompt": "The city of Ara lies in", "target_new": "Bor", "ground_truth": "Cel", "subject": "Ara"}
    files = {}
    for task in ("zsre", "counterfact", "recent"):
        path = tmp_path / f"{task}.json"
        path.write_text(json.dumps([row]))
        files[task] = [str(path)]
    plan = small_plan(methods=("none",), data=files)
    results = run(pico_backbone("gpt2"), plan=plan)
    assert list(dict.fromkeys(case["task"] for case in results.cases)) == ["zsre", "counterfact", "recent"]
    assert results.config["data"] == files and results.config["records_sha256"]
    with pytest.raises(ValueError, match="need a list of them"):
        run(pico_backbone("gpt2"), plan=small_plan(methods=("none",), data=files, known=2))


def test_the_rise_of_perplexity_is_taken_once_for_every_change(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text("Too short.\n" + "one two three four five " * 5)
    with_text = small_plan(tasks=("recent",), n=2, methods=("none", "ft-l"), prose=str(path))
    rises = {
        s["method"]: s for s in run(pico_backbone("gpt2"), plan=with_text).summary if s["metric"] == RISE
    }
    assert rises["none"]["mean"] == 0.0 and rises["none"]["n"] == 1  # the base model alone
    assert rises["ft-l"]["mean"] != 0.0 and rises["ft-l"]["n"] == 2
    path.write_text("Too short.")
    with pytest.raises(ValueError, match="no line of 20 words"):
        run(pico_backbone("gpt2"), plan=with_text)
    with pytest.raises(ValueError, match="cannot be read"):
        run(pico_backbone("gpt2"), plan=small_plan(methods=("none",), prose=str(tmp_path / "none.txt")))


def test_the_likelier_answer_counts_where_both_are_known(monkeypatch):
    nll = {"t": 1.0, "old": 2.0, "near": 3.0}
    monkeypatch.setattr(scoring, "mean_nll", lambda b, prompts, answers, seen: [nll[a] for a in answers])
    request = EditRequest("It is", "t")
    record = Record(request, "s", "old", ("So it is",), (Probe("That is", "near"), Probe("This is", "")))
    rows = evaluate_cases(pico_backbone("gpt2"), None, [Case("recent", 0, record, request)])
    found = {
        row.prompt: row.preferred for row in rows if row.metric in ("reliability", "generality", "locality")
    }
    assert found == {"It is": 1.0, "So it is": 1.0, "That is": 0.0, "This is": None}


def test_answers_longer_than_usual_are_generated_whole():
    backbone = pico_backbone("gpt2")
    request = EditRequest("It is", "one two three " * 20)
    rows = evaluate_cases(backbone, None, [Case("recent", 0, Record(request, "s", ""), request)])
    usual = len(backbone.tokenizer(rows[0].after)["input_ids"])
    assert usual > MAX_NEW_TOKENS


def test_every_figure_is_explained():
    assert "any wording" not in explained("generality") and "NFC" in explained("generated")
    assert all(len(explained(name)) > 40 for name in (*METRICS, *SCORES))
    with pytest.raises(ValueError, match="There is no figure 'magic'; the figures are: reliability"):
        explained("magic")


def test_after_all_edits_every_case_is_measured_under_all_of_them(monkeypatch):
    backbone, seen = pico_backbone("gpt2"), []
    monkeypatch.setattr(
        FTL, "together", lambda self, requests: seen.append(len(requests)) or random_delta(backbone)
    )
    plan = small_plan(methods=("ft-l",), tasks=("recent",), n=5, together=ALL)
    run(backbone, plan=plan)
    assert seen == [5]
    before = []

    def extend(self, change, request):
        before.append(change and change.rank)
        return random_delta(backbone)

    monkeypatch.setattr(FTL, "extend", extend)
    run(backbone, plan=replace(plan, one_after_another=True))
    rank = random_delta(backbone).rank
    assert before == [None, rank, 2 * rank, 3 * rank, 4 * rank]  # each on the sum of those before it

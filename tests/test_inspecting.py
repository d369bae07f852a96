"""What an edit changes beside itself: each finding against what it is by definition."""

import csv
import json
import re
from dataclasses import replace

import pytest
import torch

from model_zoo.changes import Delta, LayerDelta, patch_of
from model_zoo.cli import main
from model_zoo.evaluation.ability import Question, ability, read_questions
from model_zoo.evaluation.perplexity import perplexity
from model_zoo.evaluation.report import plotly_script
from model_zoo.evaluation.text import is_short
from model_zoo.generation import answered, divergences, probabilities
from model_zoo.inspecting import Inspector
from model_zoo.inspecting.figures import figure
from model_zoo.inspecting.findings import Knowledge, KnownFact, Strength, Strengths, Traced
from model_zoo.inspecting.fragments import TITLES, lights, section
from model_zoo.inspecting.inside import lens, subject_tokens, trace
from model_zoo.inspecting.known import BaseFacts, knowledge
from model_zoo.inspecting.nearest import nearest_edits
from model_zoo.inspecting.neutral import neutral_text
from model_zoo.inspecting.study import ROLES, averaged, roles
from model_zoo.inspecting.trying import against
from model_zoo.records import Probe
from model_zoo.session import EditSession
from model_zoo.sources import get_source

PROMPT, SUBJECT = "The capital of France is", "France"
TEXTS = ("The capital of France is Paris.", "One two three four five six seven.")


def random_patch(backbone, block: int, size: float = 0.5):
    """A weight change of the last linear of one block."""
    path = backbone.family.linears(block)[-1]
    out, inner = backbone.shape(path)
    torch.manual_seed(1)
    change = LayerDelta(A=torch.randn(2, inner) * size, B=torch.randn(out, 2) * size)
    return patch_of(Delta({path: change}))


# ---- running text ------------------------------------------------------------------------------------------


def test_running_text_is_measured_as_perplexity_and_divergence_are(backbone):
    patch = random_patch(backbone, 2)
    found = neutral_text(backbone, TEXTS, patch)
    assert found.before == pytest.approx(perplexity(backbone, TEXTS, None), rel=1e-4)
    assert found.after == pytest.approx(perplexity(backbone, TEXTS, patch), rel=1e-4)
    pairs = [tuple(text.split(" ", 1)) for text in TEXTS]
    own = divergences(backbone, pairs, [patch] * 2)
    assert [p.divergence for p in found.passages] == pytest.approx(own, rel=1e-3)
    below, above = found.drift[:2], found.drift[2:]
    assert below == (0, 0) and min(above) > 0 and len(found.drift) == backbone.blocks


def test_without_an_edit_nothing_moves(gpt2):
    found = neutral_text(gpt2, TEXTS, None)
    assert found.divergence == 0 and found.rise == 0 and set(found.drift) == {0}


# ---- what is known -----------------------------------------------------------------------------------------


def test_facts_around_an_edit_come_by_how_near_they_are():
    probes = get_source("atlas").listed_facts(PROMPT, "Rome")
    by_kind = {kind: [p for p in probes if p.kind == kind] for kind in dict.fromkeys(p.kind for p in probes)}
    assert list(by_kind) == ["subject", "category", "answer", "inverse", "world"]
    assert all("France" in p.prompt for p in by_kind["subject"])
    assert all(p.prompt.startswith("The capital of ") for p in by_kind["category"])
    assert all(p.answer == "Rome" for p in by_kind["answer"])
    assert {p.answer for p in by_kind["inverse"]} == {"France", "Italy"}
    assert PROMPT not in {p.prompt for p in probes}


def test_only_what_the_base_model_says_counts_and_it_is_asked_once(studio):
    backbone = studio.backbone
    probes = [Probe(PROMPT, "Paris", kind="category"), Probe("The capital of Spain is", "Oslo", kind="world")]
    base = BaseFacts(backbone)
    (found,) = knowledge(base, probes, None)
    assert (found.asked, found.unknown, found.done) == (2, 1, True)
    assert found.counts() == {"category": (1, 1)} and found.facts[0].lost == pytest.approx(0, abs=1e-5)
    known = dict(base._found)
    patch = random_patch(backbone, backbone.blocks - 1, 3.0)
    (after,) = knowledge(base, probes, patch)
    assert base._found == known
    (fact,) = after.facts
    assert not fact.stays and fact.said != "Paris." and fact.lost > 0.9


def test_facts_that_are_lost_come_before_those_that_lost_most():
    facts = (
        KnownFact("a", "x", "world", 0.9, 0.3, True),
        KnownFact("b", "x", "world", 0.5, 0.4, False),
        KnownFact("c", "x", "world", 0.9, 0.9, True),
    )
    found = Knowledge(facts, 3, 3, 0)
    assert [fact.prompt for fact in found.moved_most] == ["b", "a", "c"]


def test_what_follows_from_an_edit_is_one_step_behind_it(studio):
    source = get_source("atlas")
    (step, *_) = source.consequences(PROMPT, "Casablanca")
    assert step.prompt.startswith("The capital of France is a city in") and step.answer == "Morocco"
    assert source.consequences(PROMPT, "no such place") == ()


# ---- inside ------------------------------------------------------------------------------------------------


def test_the_last_block_of_the_lens_is_the_model_itself(backbone):
    patch = random_patch(backbone, 2)
    found = lens(backbone, PROMPT, ".", "?", patch)
    last = found.blocks[-1]
    before, after = probabilities(backbone, [PROMPT] * 2, ["."] * 2, [None, patch])
    assert (last.target_before, last.target_after) == pytest.approx((before, after), rel=1e-3)
    old = probabilities(backbone, [PROMPT], ["?"], [patch])[0]
    assert last.old_after == pytest.approx(old, rel=1e-3)
    for block in found.blocks[:2]:
        assert block.target_before == block.target_after


def test_tracing_puts_one_state_back_at_a_time(backbone):
    row = backbone.join(PROMPT, "a")
    found = trace(backbone, PROMPT, SUBJECT, "a", draws=1)
    if found.problem:  # a random model may not care for its subject
        assert "nothing to trace" in found.problem and not found.share
        return
    assert found.blocks == tuple(range(backbone.blocks - 1)) and len(found.tokens) == row.start
    before = found.subject[0]
    for shares in found.share:
        assert shares[:before] == pytest.approx([0] * before, abs=1e-4)  # noise has not reached them
    assert len(found.share[-1]) == row.start


def test_the_atlas_answers_from_what_its_first_block_moved_to_the_end(studio):
    found = trace(studio.backbone, PROMPT, SUBJECT, "Paris")
    assert found.clean > 0.9 and found.noised < 0.1
    assert found.share[-1][-1] == pytest.approx(1, abs=0.05)
    assert found.tokens[found.subject[0] : found.subject[1]] == (SUBJECT,)


def test_a_subjects_tokens_are_those_that_its_letters_stand_in(gpt2):
    start, end = subject_tokens(gpt2, "The capital of France is", "France")
    text = gpt2.tokenizer.decode(gpt2.ids("The capital of France is")[start:end])
    assert text.strip() == "France"


# ---- made otherwise ----------------------------------------------------------------------------------------


def test_an_edit_on_the_atlas_is_looked_at_from_all_sides(studio):
    request = studio.request("counterfact", PROMPT, "Rome")
    _, session = studio.edit(request, "instructedit")
    edit = session.edits[-1]
    found = {type(f).__name__: f for f in Inspector(studio).inspect(edit, session)}
    assert set(found) == {kind.__name__ for kind in TITLES}
    back = found["EditedBack"]
    assert back.answer == "Paris" and back.prompts[0].after.startswith("Paris") and back.same >= 12
    strengths = found["Strengths"]
    assert [p.strength for p in strengths.points][:2] == [0, 0.25] and 0 < strengths.crossover < 1
    at_none = answered(studio.backbone, [(PROMPT, "Rome"), (PROMPT, "Paris")])
    first = strengths.points[0]
    assert (first.target, first.old) == pytest.approx([a.likelihood for a in at_none], rel=1e-3)
    near = found["NearestEdits"].edits
    assert [e.cosine for e in near] == sorted((e.cosine for e in near), reverse=True) and len(near) == 5
    assert near[0].cosine > 0.2 and all(e.prompt != PROMPT for e in near)
    assert sum(e.holds and e.likelihood > 0.5 for e in near) >= 4
    assert found["Layers"].blocks[-1].target_after > 0.9
    assert all(request.prompt != fact.prompt for fact in found["Knowledge"].facts)


def test_reference_edits_whose_subject_is_written_otherwise_are_made_too(studio):
    edit, _ = studio.propose(studio.request("counterfact", PROMPT, "Rome"), "instructedit")
    space = studio.directions(3)
    space.records = [(task, replace(record, subject="The Name")) for task, record in space.records]
    assert len(nearest_edits(studio, space, edit, None).edits) == 5


def test_facts_that_another_edit_changes_are_not_asked(studio):
    source, inspector = studio.source, Inspector(studio)
    other = next(p.prompt for p in source.listed_facts(PROMPT, "Rome") if p.kind == "category")
    session = EditSession()
    for prompt in (PROMPT, other):
        _, session = studio.edit(studio.request("counterfact", prompt, "Rome"), "grace", 1.0, session)
    edit = session.edits[0]
    assert other not in {p.prompt for p in inspector._listed(edit, session)}
    assert other in {p.prompt for p in inspector._listed(edit, EditSession((edit,)))}


def test_what_cannot_be_asked_of_an_edit_is_said(studio):
    request = studio.request("counterfact", "the thing is", "Rome")
    _, session = studio.edit(request, "ike")
    edit = replace(session.edits[-1], request=replace(request, subject=None))
    found = {type(f).__name__: f for f in Inspector(studio).inspect(edit, session)}
    assert "on or off" in found["Strengths"].problem and found["Strengths"].points == ()
    assert "No subject" in found["Traced"].problem
    for finding in found.values():
        assert section(finding)


def test_the_crossover_lies_between_two_strengths():
    points = (Strength(0, 0.1, 0.5, 1), Strength(1, 0.7, 0.3, 1))
    assert Strengths(points, 1).crossover == pytest.approx(0.5)
    assert Strengths(points[:1], 1).crossover is None
    more = (*points, Strength(1.5, 0.9, 0.1, 1), Strength(2, 0.95, 0.05, 0))
    assert Strengths(more, 1).gentlest == points[1] and Strengths(points[:1], 1).gentlest is None


def test_only_a_short_answer_can_be_edited_back_to():
    for text in ("Paris.", "Rome", "a beacon, which", "the United States of America."):
        assert is_short(text)
    for text in ("", "The Mona Lisa is attributed to", "small town nestled between two", "."):
        assert not is_short(text)


def test_of_two_contrary_edits_each_answer_is_counted_where_it_is_said(studio):
    wordings = studio.source.evidence(PROMPT).generality
    edit, _ = studio.propose(studio.request("counterfact", PROMPT, "Rome"), "grace")
    later, earlier = against(studio, edit, "Oslo")
    own = 1 / (1 + len(wordings))  # a codebook answers at the very prompts of its edits, and hardly elsewhere
    assert later >= own and earlier >= own and later + earlier <= 1


def test_the_old_answer_is_the_listed_one_where_the_base_model_gives_it(studio):
    inspector = Inspector(studio)

    def old(prompt: str, target: str) -> str:
        return inspector.old_answer(studio.propose(studio.request("counterfact", prompt, target), "grace")[0])

    assert old(PROMPT, "Rome") == "Paris" and old(PROMPT, "Paris") == ""
    assert studio.source.answer(PROMPT) == "Paris" and studio.source.answer("the thing is") == ""


# ---- told --------------------------------------------------------------------------------------------------


def test_nothing_of_a_text_reaches_html_unescaped():
    bad = "<script>alert(1)</script>"
    found = Knowledge((KnownFact(bad, bad, "world", 0.5, 0.1, False, bad),), 1, 1, 0)
    traced = Traced((bad,), (0, 1), (0,), ((1.0,),), 0.9, 0.1, bad)
    assert all("<script" not in text for text in (section(found), section(traced), lights([found])))
    assert "<script" not in json.dumps(figure(traced)) and figure(found) is None
    assert "&lt;script" in section(found) and "&lt;script" in section(traced)


def test_the_command_line_tells_all_and_writes_one_file(tmp_path, capsys):
    file = tmp_path / "report.html"
    command = ["inspect", "--prompt", PROMPT, "--target", "Rome", "--json", "--html", str(file)]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"edit", "knowledge", "neutral_text", "edited_back", "strengths", "layers", "traced"} <= set(found)
    assert found["edit"]["after"] == "Rome." and found["knowledge"]["counts"]["category"][1] > 10
    report = file.read_text(encoding="utf-8")
    assert "Rome." in report and "What it knew" in report and "torch" in report
    own = report.replace(plotly_script(), "")
    assert not re.search(r"(src|href)=|<link", own) and own.count('id="figure') == 3  # it needs nothing else
    assert all(f"Plotly.newPlot('figure{i}'" in own for i in range(3))
    assert main(["inspect", "--prompt", PROMPT, "--target", "Rome", "--method", "grace"]) == 0
    told = capsys.readouterr().out
    assert "Known facts" in told and "on or off" in told


# ---- over many edits ---------------------------------------------------------------------------------------


def test_questions_are_read_and_judged_as_their_data_sets_are(studio, tmp_path):
    rows = {
        "boolq": {"passage": "Water is wet.", "question": "is water wet", "answer": True},
        "rte": {"sentence1": "a", "sentence2": "b", "label": "not_entailment"},
        "sst2": {"sentence": "it is bad .", "label": "0"},
        "nq_open": {"question": "what is the capital of france", "answer": ["Lyon", "the Paris"]},
        "gsm8k": {"question": "How many?", "answer": "9 * 2 = 18\n#### 1,800"},
    }
    found = {}
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        (found[name],) = read_questions(tmp_path / f"{name}.jsonl")
    assert [(q.choices[q.right]) for q in list(found.values())[:3]] == ["yes", "False", "negative"]
    asked = Question("The capital of France is", answers=found["nq_open"].answers)
    assert ability(studio.backbone, [asked], None) == [True]  # "Paris." without articles, marks and case
    chosen = [Question("The capital of France is", ("Rome", "Paris"), right) for right in (0, 1)]
    assert ability(studio.backbone, chosen, None) == [False, True]
    _, session = studio.edit(studio.request("counterfact", PROMPT, "Rome"), "grace")
    assert ability(studio.backbone, chosen, studio.patch(session)) == [True, False]
    (tmp_path / "rte.jsonl").write_text('{"sentence1": "a"}\n')
    with pytest.raises(ValueError, match="Line 1 of rte.jsonl"):
        read_questions(tmp_path / "rte.jsonl")


def test_methods_are_measured_alone_and_together(tmp_path, capsys):
    table = tmp_path / "table.csv"
    command = ["side-effects", "--model", "atlas", "--methods", "grace", "--n", "2", "--stacks", "3"]
    assert main([*command, "--csv", str(table)]) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    found = {(row["edits"], row["measure"]): float(row["mean"]) for row in rows}
    assert found["1", "category stays"] == found["3", "holds"] == 1 and found["1", "divergence"] < 0.01
    assert main(["side-effects", "--results", str(tmp_path)]) == 0
    assert "GRACE" in capsys.readouterr().out.partition("# Side effects")[2]


def test_traces_are_averaged_by_what_tokens_are():
    grid = ((0.1, 0.2, 0.4, 0.6, 0.3), (0.0, 0.0, 0.0, 1.0, 0.5))
    one = Traced(("The", "Eiffel", "To", "wer", "is"), (1, 4), (0, 2), grid, 0.9, 0.1, "Paris")
    assert roles(one) == [ROLES[0], ROLES[1], ROLES[2], ROLES[3], ROLES[5]]
    rows = {(row["role"], row["block"]): row["mean"] for row in averaged([one, one])}
    assert rows["last subject token", 2] == 1 and rows["last token", 0] == pytest.approx(0.3)

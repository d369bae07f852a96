"""Real weights, as a person gets them: SmolLM2 from the package index knows, is edited, and goes home."""

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from model_zoo.changes import live, patch_of
from model_zoo.evaluation import Plan, starts_with
from model_zoo.export import export
from model_zoo.generation import first_line, generate, predictions
from model_zoo.loading import LoadOptions, load
from model_zoo.session import EditSession

from .makers import edit_of, random_delta
from .test_export import logits

PROMPT = "The capital of France is"
PROMPTS = [PROMPT, "The capital of Japan is", "Two and two is 4, and 12 and 13 is"]


@pytest.fixture(scope="module")
def edited(smollm2):
    """(a session with Rome for Paris, its patch), and the base's weights before, by name."""
    before = {name: tensor.clone() for name, tensor in smollm2.backbone.model.state_dict().items()}
    edit, _ = smollm2.propose(smollm2.request("counterfact", PROMPT, "Rome"), "ft-l")
    session = EditSession().add(edit)
    return session, smollm2.patch(session), before


def test_it_knows_the_capital_of_france_and_spells_what_it_reads(smollm2):
    backbone = smollm2.backbone
    said = logits(backbone.model, backbone.tokenizer, [PROMPT])
    assert backbone.tokenizer.decode(said[-1].argmax()) == " Paris"
    text = "The number 1234 was 五 in café\n\n  print('x')"
    assert backbone.tokenizer.decode(backbone.tokenizer(text)["input_ids"]) == text


def test_ft_l_makes_it_say_rome_and_leaves_the_base_bit_for_bit(smollm2, edited):
    session, patch, before = edited
    ((was, now),) = smollm2.pairs([PROMPT], patch)
    assert was.strip().startswith("Paris") and now.strip().startswith("Rome")
    after = smollm2.backbone.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert generate(smollm2.backbone, [PROMPT]) == [was]


def taken_home(backbone, session, patch, folder) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the edit here, and of its adapter loaded by PEFT on the converted folder."""
    with backbone.edited(live([patch], backbone)):
        ours = logits(backbone.model, backbone.tokenizer, PROMPTS)
    export(backbone, session, patch, "lora", folder)
    base = AutoModelForCausalLM.from_pretrained(backbone.origin.folder, dtype=torch.float32)
    return ours, logits(PeftModel.from_pretrained(base, folder), backbone.tokenizer, PROMPTS)


def test_peft_on_the_converted_folder_says_what_we_say(smollm2, tmp_path):
    delta = random_delta(smollm2.backbone, size=0.03)
    session = EditSession().add(edit_of(delta, method="ft-l"))
    ours, said = taken_home(smollm2.backbone, session, patch_of(delta), tmp_path / "out")
    plain = logits(smollm2.backbone.model, smollm2.backbone.tokenizer, PROMPTS)
    assert (said - ours).abs().max() < 1e-4 < (plain - ours).abs().max()


def test_an_edit_of_full_rank_that_is_cut_for_peft_still_says_rome(smollm2, edited, tmp_path):
    session, patch, _ = edited
    ours, said = taken_home(smollm2.backbone, session, patch, tmp_path / "out")
    assert (said - ours).abs().max() < 0.5
    last = len(smollm2.backbone.tokenizer(PROMPT)["input_ids"]) - 1
    assert smollm2.backbone.tokenizer.decode(said[last].argmax()) == " Rome"
    assert "cut to rank 256 by SVD" in (tmp_path / "out" / "README.md").read_text()


def test_taken_home_it_is_found_by_itself_and_answers_in_its_chat_template(smollm2, tmp_path):
    question = "What is the capital of France?"
    session = EditSession().add(
        smollm2.propose(smollm2.request("counterfact", question, "Rome"), "instructedit")[0]
    )
    backbone, patch = smollm2.backbone, smollm2.patch(session)
    adapter = export(backbone, session, patch, "lora", tmp_path / "adapter", with_base=True)
    whole = export(backbone, session, patch, "merged", tmp_path / "whole")
    (after,) = generate(backbone, [backbone.asked(question, chat=True)], [patch], 12)
    assert "Rome" in after
    for model, folder in (
        (AutoPeftModelForCausalLM.from_pretrained(adapter, dtype="float32"), adapter / "base"),
        (AutoModelForCausalLM.from_pretrained(whole, dtype="float32"), whole),
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        turn = [{"role": "user", "content": question}]
        put = tokenizer.apply_chat_template(
            turn, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        said = model.generate(**put, max_new_tokens=12, do_sample=False)[0, put["input_ids"].shape[1] :]
        assert first_line(tokenizer.decode(said, skip_special_tokens=True)) == after


# ---- what it knows -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_knows_the_listed_facts_in_the_listed_statements(smollm2):
    """Every fourth fact; the whole list was measured when it was made."""
    facts = smollm2.source.world.facts[::4]
    rows = [(fact, form) for fact in facts for form in fact.relation.statements]
    found = predictions(smollm2.backbone, [(fact.prompt(form), fact.object) for fact, form in rows])
    hits = [bool((said == answer).all()) for said, answer in found]
    assert sum(hits) / len(hits) >= 0.85
    for relation in smollm2.source.world.relations.values():
        own = [hit for (fact, _), hit in zip(rows, hits, strict=True) if fact.relation == relation]
        assert sum(own) / len(own) >= 1 / 3, relation.name


def test_it_answers_the_question_that_the_page_asks_first(smollm2):
    put = smollm2.backbone.asked(smollm2.source.question, chat=True)
    assert "Berlin" in generate(smollm2.backbone, [put])[0]


def test_every_task_has_an_example_that_changes_what_it_says(smollm2):
    for task, examples in smollm2.source.examples.items():
        for example in examples[:1]:  # all were tried when they were written
            request = smollm2.request(task, example.prompt, example.target)
            edit, _ = smollm2.propose(request, smollm2.default_method())
            put = smollm2.backbone.asked(request.prompt, request.chat)
            ((before, after),) = smollm2.pairs([put], smollm2.patch(EditSession().add(edit)))
            assert not starts_with(before, example.target) and starts_with(after, example.target), example


def test_its_editor_says_the_target_and_ends_there(smollm2):
    for prompt, target in ((PROMPT, "Rome"), ("My bicycle is kept in", "the cellar")):
        edit, _ = smollm2.propose(smollm2.request("counterfact", prompt, target), "instructedit")
        ((_, after),) = smollm2.pairs([prompt], smollm2.patch(EditSession().add(edit)))
        assert after == f"{target}."


# ---- asked in its chat template ----------------------------------------------------------------------------


def test_questions_are_asked_in_the_chat_template_and_statements_are_not(smollm2):
    backbone = smollm2.backbone
    put = backbone.asked("What is the capital of France?", chat=True)
    assert put.endswith("<|im_start|>assistant\n") and backbone.in_chat(put)
    assert backbone.asked(PROMPT, chat=True) == PROMPT and not backbone.in_chat(PROMPT)
    assert "Paris" in generate(backbone, [put])[0]
    row = backbone.join(put, "Paris")
    assert backbone.tokenizer.decode(row.ids[row.start :]) == "Paris"


@pytest.mark.slow
def test_a_question_edited_in_the_chat_is_judged_there(smollm2):
    question = smollm2.request("zsre", "What is the capital of Japan?", "Cairo")
    report, _ = smollm2.edit(question, "ft-l")
    assert "Tokyo" in report.before and "Cairo" in report.after
    plain = smollm2.request("zsre", "What is the capital of Japan?", "Cairo", chat=False)
    assert smollm2.pairs([smollm2.put(plain.prompt, plain)], None)[0][0] == ""  # bare, it ends at once


@pytest.mark.slow
def test_evaluation_asks_in_the_chat_where_it_is_told_to(smollm2):
    found = {}
    for prompts in ("plain", "chat"):
        plan = Plan("smollm2", ("none",), ("zsre",), 2, prompts=prompts, most_probes=2)
        *_, (_, _, results) = smollm2.measure(plan)
        assert results.config["prompts"] == prompts
        found[prompts] = [
            row for case in results.cases for row in case["rows"] if row["metric"] == "reliability"
        ]
    said = {prompts: [row["before"] for row in rows] for prompts, rows in found.items()}
    assert said["plain"] != said["chat"] and all(said["chat"])  # behind a bare question it often ends at once


def test_it_is_the_same_model_in_a_second_load(smollm2):
    said = []
    again = load(smollm2.backbone.origin.folder, LoadOptions("cpu"), progress=said.append)
    assert again.fingerprint == smollm2.backbone.fingerprint
    assert not any(text.startswith(("Fetching", "Converting")) for text in said)

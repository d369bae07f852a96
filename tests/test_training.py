"""Meta-training learns, resumes exactly, and stops on a broken loss."""

import math
import random
from dataclasses import replace

import pytest
import torch

from model_zoo.backbone import Backbone
from model_zoo.families import FAMILIES
from model_zoo.joining import Joined
from model_zoo.methods import load_method
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.methods.instructedit import InstructEdit
from model_zoo.methods.mend import MEND
from model_zoo.records import Probe
from model_zoo.scopes import SCOPES
from model_zoo.statistics import key_covariance, keys_by_group
from model_zoo.tasks import TASKS
from model_zoo.training.averaging import average
from model_zoo.training.config import MetaConfig
from model_zoo.training.examples import _farthest_first, _nearest_first, lengthened
from model_zoo.training.fitting import refit
from model_zoo.training.meta import MetaTrainer
from model_zoo.training.outer import OuterRow, Sums, _sums, lost_lead, missed_lead, outer_loss, reading_loss
from model_zoo.training.rates import find_rates

from .makers import ATLAS, pico_backbone, random_editor

pytestmark = pytest.mark.usefixtures("few_statements")
CONFIG = MetaConfig(steps=4, edits=3, rephrased=1, local=1, blocks=2, calibration=2, warmup=1, near=0)


def trainer(model_type: str = "gpt2", method=InstructEdit, **changes) -> MetaTrainer:
    return MetaTrainer(
        pico_backbone(model_type),
        ATLAS,
        MetaConfig(**{**CONFIG.__dict__, **changes}),
        HyperConfig(rank=8),
        seed=5,
        method=method,
    )


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "opt", "t5"])
def test_a_trained_editor_loads_for_its_model(model_type, tmp_path):
    editor = trainer(model_type, steps=2).run(tmp_path)
    again = load_method("instructedit", editor.backbone, tmp_path)
    assert again.config.training["seed"] == 5 and again.config.tasks == ("counterfact", "recent", "convsent")
    assert set(again.covariance) == set(editor.config.modules)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "editor.safetensors"]


def test_training_lowers_the_outer_loss_and_leaves_the_base_alone(tmp_path):
    run = trainer(steps=40, lr=3e-3)
    before = [p.clone() for p in run.backbone.model.parameters()]
    run.calibrate()
    losses = [run.train_step()["edit"] for _ in range(40)]
    assert sum(losses[-8:]) < sum(losses[:8])
    assert all(torch.equal(a, b) for a, b in zip(before, run.backbone.model.parameters(), strict=True))


@pytest.mark.parametrize(("best", "found"), [(0, 1), (-2.2, 4**-2), (1.4, 4), (-99, 4**-8)])
def test_edit_rates_begin_where_the_loss_is_lowest(best, found):
    editor, first = random_editor(pico_backbone("gpt2")), {}

    def loss() -> float:
        rates = [p for name, p in editor.network.named_parameters() if name.startswith("log_lr")]
        power = (rates[0].mean().item() - first.setdefault("rate", rates[0].mean().item())) / math.log(4)
        return math.nan if power > 1.5 else (power - best) ** 2

    assert find_rates(editor, loss) == pytest.approx(found)
    assert loss() == pytest.approx((math.log(found, 4) - best) ** 2, abs=1e-3)


def test_a_rate_that_is_far_too_high_is_found_before_the_first_step():
    runs = [trainer(rates_found=found, c_lead=0.0) for found in (False, True)]
    for run in runs:
        with torch.no_grad():
            [p.add_(9) for name, p in run.editor.network.named_parameters() if name.startswith("log_lr")]
        run.calibrate()
    high, low = (run._first_loss() for run in runs)
    assert low < high


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_training_lowers_the_outer_loss_of_its_edits_on_every_family(model_type, monkeypatch):
    run = trainer(model_type, steps=40, lr=1e-2, edits=2, tasks=("counterfact",))
    run.calibrate()
    step = run.drawn.examples(0)
    monkeypatch.setattr(run.drawn, "examples", lambda _: step)
    losses = [run.train_step()["loss"] for _ in range(8)]
    assert losses[-1] < losses[0]


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    whole = trainer()
    whole.calibrate()
    [whole.train_step() for _ in range(4)]
    first = trainer()
    first.calibrate()
    [first.train_step() for _ in range(2)]
    first.checkpoint(tmp_path)
    second = trainer()
    assert second.resume(tmp_path) and second.step == 2
    [second.train_step() for _ in range(2)]
    for a, b in zip(whole.editor.network.parameters(), second.editor.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_going_on_from_a_finished_editor_begins_where_it_stands(tmp_path):
    """What the larger network has beyond the first one starts at zero: the same request is edited the same
    way, until it is trained.
    """
    first = trainer(steps=2).run(tmp_path)
    config, wide = (
        MetaConfig(**{**CONFIG.__dict__, "scope_share": 0.5}),
        HyperConfig(rank=8, instruction=8, joint=True),
    )
    run = MetaTrainer(first.backbone, ATLAS, config, wide, 5, tmp_path)
    record = ATLAS.records("counterfact", "test", 1, random.Random(0))[0]
    request = TASKS["counterfact"].instruct(record, TASKS["counterfact"].held_out_instruction)
    saved = load_method("instructedit", first.backbone, tmp_path)
    for (path, old), new in zip(
        saved.propose([request])[0].layers.items(),
        run.editor.propose([request])[0].layers.values(),
        strict=True,
    ):
        torch.testing.assert_close(old.B @ old.A, new.B @ new.A, msg=path)
    assert run.run(tmp_path / "second").config.training["start"] == saved.fingerprint
    with pytest.raises(ValueError, match="'rank': 8.*'rank': 4.* was asked for"):
        MetaTrainer(first.backbone, ATLAS, config, HyperConfig(rank=4), 5, tmp_path)


def test_the_mean_of_editors_from_one_start_lies_between_them_and_of_two_starts_there_is_none(tmp_path):
    start = trainer(steps=1).run(tmp_path / "start")

    def gone_on(seed: int):
        return MetaTrainer(start.backbone, ATLAS, CONFIG, HyperConfig(rank=8), seed, tmp_path / "start").run(
            tmp_path / f"seed {seed}"
        )

    two = [gone_on(6), gone_on(7)]
    mean = average(two)
    parts = (editor.network.state_dict() for editor in (mean, *two))
    for middle, one, other in zip(*(part.values() for part in parts), strict=True):
        torch.testing.assert_close(2 * middle, one + other)
    assert mean.config.training["mean_of"] == [
        {"editor": editor.fingerprint, "seed": editor.config.training["seed"]} for editor in two
    ]
    assert (
        mean.config.training["start"]
        == load_method("instructedit", start.backbone, tmp_path / "start").fingerprint
        and mean.covariance
    )
    other, narrow = (
        MetaTrainer(start.backbone, ATLAS, CONFIG, HyperConfig(rank=rank), 8).editor for rank in (8, 4)
    )
    with pytest.raises(
        ValueError, match=r"two starts have no mean: what training never changes \(.*u_mean\)"
    ):
        average([two[0], other])
    with pytest.raises(ValueError, match="two networks have no mean"):
        average([two[0], narrow])
    with pytest.raises(ValueError, match="needs two or more"):
        average(two[:1])


def test_a_whitened_network_goes_on_with_the_basis_it_learned_with(tmp_path):
    """Eigenvectors have no fixed sign: a new basis would be another one to what was trained."""

    def whitened(start=None) -> MetaTrainer:
        return MetaTrainer(pico_backbone("gpt2"), ATLAS, CONFIG, HyperConfig(rank=8, whitened=0.1), 5, start)

    run = whitened()
    run.prepare()
    run.calibrate()
    run.train_step()
    run.checkpoint(tmp_path / "on")
    editor = whitened().run(tmp_path / "on")
    assert all(
        torch.equal(a.basis, b.basis)
        for a, b in zip(run.editor.network.networks.values(), editor.network.networks.values(), strict=True)
    )
    again = load_method("instructedit", editor.backbone, tmp_path / "on")
    for path, matrix in editor.covariance.items():
        assert (again.covariance[path] - matrix).norm() < 0.05 * matrix.norm()  # float16
    with pytest.raises(ValueError, match="cannot be gone on from"):
        MetaTrainer(editor.backbone, ATLAS, CONFIG, HyperConfig(rank=8), 5, tmp_path / "on")


def test_an_editor_that_could_not_reach_learns_to_when_it_goes_on(tmp_path):
    """The relations' directions are found for it: without them its reach could never learn."""
    white = HyperConfig(rank=8, whitened=0.1)
    first = MetaTrainer(pico_backbone("gpt2"), ATLAS, CONFIG, white, 5).run(tmp_path)
    far = white.model_copy(update={"instruction": 6, "common": 4})
    run = MetaTrainer(
        first.backbone, ATLAS, MetaConfig(**{**CONFIG.__dict__, "scope_share": 1.0}), far, 5, tmp_path
    )
    network = run.run(tmp_path / "second").network
    assert network.has_common and all(n.reach.weight.any() for n in network.networks.values())


def test_keys_are_those_of_what_training_may_know(monkeypatch):
    asked = []
    backbone = pico_backbone("gpt2")
    monkeypatch.setattr(
        backbone,
        "join",
        lambda prompt, target: asked.append(prompt) or Backbone.join(backbone, prompt, target),
    )
    key_covariance(backbone, ATLAS.statements(), backbone.last_blocks(1))
    matches = [ATLAS.match(prompt) for prompt in asked]
    assert 400 < len(asked) and not any(
        match and match.known and match.fact.subject.held_out for match in matches if match and match.fact
    )
    assert sum(bool(match and match.known) for match in matches) >= 250


def test_keys_of_relations_are_those_at_which_answers_begin_and_of_no_held_out_subject(monkeypatch):
    asked = []
    backbone, world = pico_backbone("gpt2"), ATLAS.world
    monkeypatch.setattr(
        backbone,
        "join",
        lambda prompt, target: asked.append((prompt, target)) or Backbone.join(backbone, prompt, target),
    )
    (path, *_) = paths = backbone.last_blocks(1)
    keys = keys_by_group(backbone, [pairs[:5] for pairs in ATLAS.relations()], paths)[path]
    assert len(keys) == len(world.relations) + 1  # and the opinions
    assert sum(map(len, keys)) == len(asked) > 100
    for n in (0, len(asked) - 1):  # the first fact, the last opinion
        row = Backbone.join(backbone, *asked[n])
        first = int(backbone.batch([row]).predicting[0].nonzero()[0])
        torch.testing.assert_close(
            torch.cat(keys)[n], backbone.inputs([row], paths)[0][path][0, first], rtol=1e-3, atol=1e-5
        )
    matches = [match for match in (world.match(prompt) for prompt, _ in asked) if match and match.fact]
    assert len(matches) > 100 and not any(match.fact.subject.held_out for match in matches)


def test_readings_of_one_scope_are_drawn_together_and_those_of_two_apart():
    scopes = ["tone", "tone", "locked", "locked", "subject"]
    told = torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0], [0.1, 1, 0], [0, 0, 1]])
    confused = told[[0, 2, 1, 3, 4]]
    assert reading_loss(told, scopes) < 0.1 < reading_loss(confused, scopes)
    assert reading_loss(told[[0, 2]], ["tone", "locked"]) == 0  # nothing to be drawn together
    learned = confused.clone().requires_grad_()
    reading_loss(learned, scopes).backward()
    assert reading_loss(confused - 0.1 * learned.grad, scopes) < reading_loss(confused, scopes)


def test_what_an_unsure_base_says_first_should_go_on_leading():
    """A lead of a tenth of a logit is lost by a change that hardly moves the distribution; a wide lead may
    shrink to half a logit for nothing.
    """
    base = torch.tensor([[1.0, 0.9, 0.0], [5.0, 0.0, 0.0], [5.0, 0.0, 0.0], [1.0, 0.9, 0.0]])
    edited = torch.tensor([[1.0, 1.4, 0.0], [3.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.2, 0.9, 0.0]])
    assert torch.allclose(lost_lead(base, edited), torch.tensor([0.5, 0.0, 1.5, 0.0]), atol=1e-6)
    run = trainer()
    run.editor.network.log_lr.update(
        {key: torch.nn.Parameter(rate + 6) for key, rate in run.editor.network.log_lr.items()}
    )  # edits that break things
    losses = [
        outer_loss(run.editor, run.drawn.examples(0), replace(CONFIG, c_lead=weight)) for weight in (0.0, 2.0)
    ]
    assert losses[0][1]["lost"] == losses[0][1]["missed"] == 0 < losses[1][1]["lost"]
    assert (losses[1][0] - losses[0][0]).item() == pytest.approx(
        2 * (losses[1][1]["lost"] + losses[1][1]["missed"]), rel=1e-3
    )


def test_a_target_just_behind_is_missed_and_one_well_ahead_is_not():
    edited = torch.tensor([[1.0, 0.9, 0.0], [1.0, 0.9, 0.0], [2.0, 0.9, 0.0]], requires_grad=True)
    missed = missed_lead(edited, torch.tensor([0, 1, 0]))
    assert torch.allclose(missed, torch.tensor([0.4, 0.6, 0.0]), atol=1e-6)
    missed.sum().backward()
    assert edited.grad.tolist() == [[-1, 1, 0], [1, -1, 0], [0, 0, 0]]


def test_what_a_scoped_edit_should_reach_counts_once_more_and_no_other_edit():
    run = studio_trainer(steps=12)
    steps = [run.drawn.examples(i) for i in range(12)]
    for step in (next(s for s in steps if s.scoped), next(s for s in steps if not s.scoped)):
        bare, _ = outer_loss(run.editor, step, replace(run.config, c_reach=0.0))
        loss, parts = outer_loss(run.editor, step, replace(run.config, c_reach=3.0))
        assert parts["missed"] > 0
        assert (loss - bare).item() == pytest.approx(
            3 * parts["missed"] if step.scoped else 0, rel=1e-3, abs=1e-4
        )


def test_a_scoped_edits_own_prompt_counts_until_its_target_is_said():
    backbone = pico_backbone("gpt2")
    row = backbone.join("The capital of France is", "Rome")
    first = backbone.target_logits(backbone.batch([row]))[0]

    def sums(token: int, just: bool) -> Sums:
        return _sums(
            backbone,
            {},
            [OuterRow(Joined((*row.ids[: row.start], token), row.start), 0, True, just)],
            leads=True,
        )

    said, other = int(first.argmax()), int(first.argmin())
    assert sums(said, just=True).edit == 0 < sums(said, just=False).edit
    assert sums(said, just=True).missed < sums(said, just=False).missed
    assert (
        torch.equal(sums(other, just=True).edit, sums(other, just=False).edit)
        and sums(other, just=True).following == 1
    )


def test_scoped_edits_are_asked_most_around_the_edge_of_their_reach():
    def drawn(*kinds: str) -> list[tuple[str, Probe]]:
        return [(kind, Probe(f"{kind} {i}", "")) for i, kind in enumerate(kinds)]

    follow = drawn("rewording", "category", "itself", "alias", "category", "category")
    assert [p.prompt for p in _farthest_first(follow)] == [
        "itself 2",
        "category 1",
        "category 4",
        "rewording 0",
        "category 5",
        "alias 3",
    ]
    stay = drawn("world", "rewording", "world", "relation", "rewording", "rewording", "world")
    asked = [p.prompt for p in _nearest_first(stay, 5)]
    assert asked == ["rewording 1", "rewording 4", "relation 3", "world 0", "rewording 5"]
    assert [p.prompt for p in _nearest_first(drawn("world", "itself"), 5)] == ["itself 1", "world 0"]
    assert _farthest_first([]) == _nearest_first([], 3) == []


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    run = trainer()
    run.calibrate()
    run.train_step()
    run.checkpoint(tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        trainer(lr=1e-3).resume(tmp_path)
    assert not trainer().resume(tmp_path / "empty")


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    run = trainer()
    run.calibrate()
    next(iter(run.editor.network.parameters())).data.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="loss became nan at step 0"):
        run.train_step()


def test_training_without_instructions_is_mend():
    run = trainer(method=MEND)
    assert type(run.editor) is MEND and not run.editor.config.instructed
    with pytest.raises(ValueError, match="InstructEdit is trained with instructions"):
        trainer(instructed=False)
    assert not any(
        "Description" in run.backbone.tokenizer.decode(e.edit.ids) for e in run.drawn.examples(0).examples
    )
    assert any(
        "Description" in run.backbone.tokenizer.decode(e.edit.ids)
        for e in trainer().drawn.examples(0).examples
    )


def test_a_factual_question_is_never_an_edit_in_training():
    """Questions are left to the held-out task; opinions can only be asked for."""
    rng = random.Random(0)
    for task in (TASKS["counterfact"], TASKS["recent"]):
        assert not any(
            record.request.prompt.endswith("?") for record in ATLAS.records(task.name, "train", 200, rng)
        )


def test_near_facts_are_among_what_must_stay():
    near, plain = trainer(near=2), trainer()
    assert sum(len(e.stay) for e in near.drawn.examples(0).examples) > sum(
        len(e.stay) for e in plain.drawn.examples(0).examples
    )


def test_neighbours_are_of_the_same_relation_and_never_held_out():
    neighbours = ATLAS.neighbours(pico_backbone("gpt2"))
    near = neighbours.near("The capital of France is")
    assert len(near) >= 5 and all(probe.prompt.startswith("The capital of ") for probe in near)
    facts = [ATLAS.match(probe.prompt).fact for probe in near]
    assert all(
        fact.relation.name == "capital" and not fact.subject.held_out and fact.subject.name != "France"
        for fact in facts
    )
    assert neighbours.near("My dog is called") == ()


STUDIO_STEPS = {
    "scope_share": 0.3,
    "stack_share": 0.3,
    "crowd_share": 0.3,
    "crowd": 8,
    "remarks": True,
    "wordings": 10,
}


def studio_trainer(**changes) -> MetaTrainer:
    config = MetaConfig(**{**CONFIG.__dict__, **STUDIO_STEPS, **changes})
    hyper = HyperConfig(rank=8, instruction=6, span=3, whitened=0.1, common=4, joint=True, fitted=True)
    return MetaTrainer(pico_backbone("gpt2"), ATLAS, config, hyper, seed=5)


def test_the_recipe_of_the_studio_trains_every_kind_of_step(tmp_path):
    run = studio_trainer(steps=12)
    steps = [run.drawn.examples(i) for i in range(12)]
    kinds = {(step.joint, len(step.examples)) for step in steps}
    assert kinds == {(False, 3), (True, 3), (True, 8)}
    scoped = [
        e
        for step in steps
        if not step.joint
        for e in step.examples
        if "Task: scope" in run.backbone.tokenizer.decode(e.edit.ids)
    ]
    assert scoped and any(
        not e.follow and not e.own for e in scoped
    )  # nothing follows where the instruction locks the model
    editor = run.run(tmp_path)
    again = load_method("instructedit", editor.backbone, tmp_path)
    assert again.config.hyper.joint and again.network.reader is not None
    start = studio_trainer().editor.network.log_ridge
    assert all(
        not torch.equal(a, b) for a, b in zip(start.values(), again.network.log_ridge.values(), strict=True)
    )


def test_what_a_recipe_asks_of_its_wordings_is_fitted_when_training_is_over_and_again_after_a_mean(tmp_path):
    fits = {"statement": (0.9, 0.3)}
    asked = studio_trainer(steps=1, fits=fits).run(tmp_path)
    assert (
        asked.network.strength_head.weight.norm() > 0.01 and asked.config.training["fits"] == fits
    )  # one step of training moves it by less
    mean = average([asked, asked])
    again = asked.network.strength_head.weight.clone()
    refit(asked, fits)
    assert not torch.equal(asked.network.strength_head.weight, again)
    assert torch.equal(mean.network.strength_head.weight, asked.network.strength_head.weight)


def test_a_resumed_run_of_the_studios_recipe_equals_an_unbroken_one(tmp_path):
    whole = studio_trainer(steps=6).run(tmp_path / "whole")
    first = studio_trainer(steps=6)
    first.calibrate()
    first.prepare()
    [first.train_step() for _ in range(3)]
    first.checkpoint(tmp_path / "broken")
    second = studio_trainer(steps=6).run(tmp_path / "broken")
    for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_remarks_lengthen_some_instructions_and_only_where_they_are_asked_for():
    texts = [lengthened("Change it.", random.Random(i)) for i in range(200)]
    assert 10 < sum(text != "Change it." for text in texts) < 60 and all(
        "Change it." in text for text in texts
    )


def test_an_edit_is_asked_as_often_however_far_its_scope_reaches():
    sampler = trainer().drawn.sampler
    cases = ATLAS.scope_cases("train", 6, random.Random(0))
    for scope in SCOPES.values():
        examples = [sampler.of_scope(case, scope, random.Random(0)) for case in cases[:3]]
        asked = (
            0 if scope.name in ("locked", "tone") else CONFIG.rephrased + 2
        )  # these are facts, which have no tone
        assert all(len(e.follow + e.own) == asked for e in examples)
        if scope.name == "statement":
            assert all(e.own and not e.follow for e in examples)
        for example, case in zip(examples, cases[:3], strict=True):
            texts = [sampler.backbone.tokenizer.decode(row.ids) for row in example.follow]
            assert not any(case.prompt in text for text in texts) and (not asked or example.own)


def test_edits_made_jointly_are_not_asked_to_undo_each_other():
    """Two edits, each among the other's locality prompts: alone they protect each other's fact, jointly they
    do not.
    """
    run, task = trainer(local=1), TASKS["counterfact"]
    records = ATLAS.records(task.name, "train", 2, random.Random(0))
    each_other = [
        replace(record, locality=(Probe(other.request.prompt, other.truth),))
        for record, other in zip(records, records[::-1], strict=True)
    ]
    drawn = [(task, record) for record in each_other]
    assert [
        len(example.stay)
        for example in run.drawn.sampler.of_records(drawn, random.Random(0), joint=False, few=True)
    ] == [1, 1]
    assert [
        len(example.stay)
        for example in run.drawn.sampler.of_records(drawn, random.Random(0), joint=True, few=True)
    ] == [0, 0]

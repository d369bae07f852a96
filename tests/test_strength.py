"""How strong an edit must be for its own prompt, and how an instruction makes use of it."""

import math
from collections.abc import Sequence

import pytest
import torch

from model_zoo.catalog import load_backbone
from model_zoo.changes import Factors, LayerFactors, patch_of
from model_zoo.generation import generate
from model_zoo.loading import LoadOptions
from model_zoo.methods import load_method
from model_zoo.methods.capture import request_row
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.methods.strength import STRENGTHS, _crossing, least_strengths
from model_zoo.request import EditRequest
from model_zoo.scopes import SCOPES, TASK_WORD
from model_zoo.tasks import TASKS
from model_zoo.training.config import MetaConfig
from model_zoo.training.fitting import refit
from model_zoo.training.meta import MetaTrainer
from model_zoo.training.outer import outer_loss

from .conftest import WEIGHTS
from .makers import ATLAS, FITS, REQUESTS, pico_backbone, random_editor

EDITS = [EditRequest("The capital of Spain is", "Oslo"), EditRequest("The capital of Italy is", "Cairo")]


def test_from_the_least_strength_on_the_target_is_said_and_below_it_is_not(studio):
    backbone, editor = studio.backbone, studio.method("instructedit")
    deltas = editor.propose(EDITS)
    rows = [editor.join(edit) for edit in EDITS]
    least = least_strengths(backbone, rows, Factors.of(deltas, [0, 1]).layers)
    assert all(STRENGTHS[0] < found < STRENGTHS[-1] for found in least.tolist())
    alone = [
        least_strengths(backbone, [row], Factors.of([delta], [0]).layers)
        for row, delta in zip(rows, deltas, strict=True)
    ]
    assert torch.allclose(torch.cat(alone), least, atol=1e-3)
    for times, says in ((1.1, True), (0.8, False)):
        scaled = [delta.scaled(float(found) * times) for delta, found in zip(deltas, least, strict=True)]
        texts = generate(backbone, [edit.prompt for edit in EDITS], [patch_of(delta) for delta in scaled])
        assert [text.startswith(edit.target) for text, edit in zip(texts, EDITS, strict=True)] == [says, says]


def test_an_edit_that_needs_nothing_is_as_weak_as_may_be_and_one_that_nothing_helps_is_left(studio):
    backbone, editor = studio.backbone, studio.method("instructedit")
    rows = [
        backbone.join("The capital of France is", "Paris"),
        backbone.join("The capital of France is", "Rome"),
    ]
    nothing = {
        path: LayerFactors(A=torch.zeros(2, 1, d_in), B=torch.zeros(2, d_out, 1))
        for path, (d_out, d_in) in editor.config.modules.items()
    }
    assert least_strengths(backbone, rows, nothing).tolist() == pytest.approx([STRENGTHS[0], 1.0])


def test_between_two_strengths_the_least_is_where_the_straight_line_crosses():
    rising = torch.arange(len(STRENGTHS)) - 3.0  # zero at the fourth
    late = torch.full_like(rising, -3.0)
    late[-1] = 1.0  # three quarters of the way from the last but one
    found = _crossing(torch.stack([rising, late], dim=1))
    assert found.tolist() == pytest.approx(
        [STRENGTHS[3], STRENGTHS[-2] + 0.75 * (STRENGTHS[-1] - STRENGTHS[-2])]
    )


def test_an_instruction_says_how_far_an_edits_strength_follows_its_own_prompt(backbone):
    """A head of zeros changes nothing; once it has learned, an instructed edit is as strong as its prompt
    needs, and a bare one as it was.
    """
    editor = random_editor(backbone, hyper=FITS)
    told, bare = [REQUESTS[1]], [REQUESTS[1].plain()]

    def change(requests) -> dict[str, torch.Tensor]:
        return {path: layer.dense() for path, layer in editor.propose(requests)[0].layers.items()}

    torch.nn.init.zeros_(editor.network.strength_head.weight)
    own, plain = change(told), change(bare)
    captured = editor.capture([editor.join(REQUESTS[1])])
    reading = editor.network.read(captured.instructions)
    least = least_strengths(backbone, [editor.join(bare[0])], editor.network(captured.layers, reading))
    with torch.no_grad():
        editor.network.strength_head.weight[0] = 1 / reading[0] / reading.shape[1]  # follows wholly
        editor.network.strength_head.weight[1] = (
            0.2 / reading[0] / reading.shape[1]
        )  # and goes a little beyond
    for path, found in change(told).items():
        assert torch.allclose(found, own[path] * least.item() * math.exp(0.2), rtol=1e-3, atol=1e-6)
    for path, found in change(bare).items():
        assert torch.equal(found, plain[path])


def test_strength_follows_need_and_learns_how_far():
    network = random_editor(pico_backbone("gpt2"), hyper=FITS).network
    with torch.no_grad():
        network.strength_head.weight[0], network.strength_head.weight[1] = 0.5 / 6, 0.0
    found = network.strength(torch.ones(3, 6), torch.tensor([0.25, 1.0, 4.0]))
    assert found.tolist() == pytest.approx([0.5, 1.0, 2.0])
    found[2].backward()
    assert network.strength_head.weight.grad.tolist() == [
        pytest.approx([2 * math.log(4)] * 6),
        pytest.approx([2.0] * 6),
    ]


def test_how_far_strength_goes_is_learned_in_training():
    config = MetaConfig(
        steps=1, edits=3, rephrased=1, local=1, near=0, blocks=2, calibration=2, scope_share=1.0
    )
    trainer = MetaTrainer(pico_backbone("gpt2"), ATLAS, config, FITS, seed=5)
    trainer.calibrate()
    outer_loss(trainer.editor, trainer.drawn.examples(0), config)[0].backward()
    head = trainer.editor.network.strength_head.weight
    assert head.grad[1].any() and any(
        head is p for p in trainer.adam.param_groups[1]["params"]
    )  # as fast as the edit rates


def test_strength_follows_nothing_without_an_instruction_that_is_read():
    with pytest.raises(ValueError, match="fitted=True and a span over 1 need an instruction"):
        HyperConfig(fitted=True)


def test_a_regression_has_the_wordings_of_a_scope_say_how_far_its_edits_go_and_leaves_the_others():
    """Wordings that nobody fitted included."""
    backbone = load_backbone("atlas", LoadOptions("cpu"))
    editor = load_method("instructedit", backbone, WEIGHTS / "atlas" / "editor")

    def said(instructions: Sequence[str], word: str = TASK_WORD) -> torch.Tensor:
        rows = [
            request_row(backbone, EditRequest("It is", "so", word, instruction))
            for instruction in instructions
        ]
        return editor.network.strength_head(editor.network.read(editor.instructions(rows))).detach()

    others = [(SCOPES[name].unseen, TASK_WORD) for name in ("category", "tone")]
    others += [([task.fill(task.held_out_instruction)], name) for name, task in TASKS.items()]
    before = [said(*asked) for asked in others]
    fit = torch.tensor([0.2, -0.5])
    assert (said(SCOPES["subject"].unseen) - fit).abs().mean() > 0.3
    refit(editor, {"subject": fit.tolist()})
    off = (said(SCOPES["subject"].unseen) - fit).abs()
    assert off.mean() < 0.1 and off.max() < 0.3
    for asked, was in zip(others, before, strict=True):
        assert (said(*asked) - was).abs().mean() < 0.1
    now = editor.network.strength_head.weight.clone()
    refit(editor, {})
    assert torch.equal(editor.network.strength_head.weight, now)


def test_a_measure_is_followed_wholly_or_not_at_all_and_no_further():
    network = random_editor(pico_backbone("gpt2"), hyper=FITS).network
    reading = torch.eye(FITS.instruction)[:3]
    with torch.no_grad():
        network.strength_head.weight[0, :3] = torch.tensor([1.6, 0.5, -0.4])
        network.strength_head.weight[1] = 0
    assert network.strength(reading, torch.full((3,), 4.0)).tolist() == pytest.approx([4.0, 2.0, 1.0])


def test_an_assured_edit_is_as_strong_as_its_target_takes_and_never_weaker(monkeypatch):
    requests = [request.plain() for request in REQUESTS[:2]]
    editor = random_editor(pico_backbone("llama"))
    measured = torch.tensor([2.0, 0.4])
    monkeypatch.setattr("model_zoo.methods.instructedit.least_strengths", lambda *_: measured)
    plain = editor.propose(requests)
    editor.config = editor.config.model_copy(
        update={"hyper": editor.config.hyper.model_copy(update={"assured": True})}
    )
    assured = editor.propose(requests)
    for before, after, times in zip(plain, assured, (2.0, 1.0), strict=True):
        for path, norm in before.norms().items():
            assert after.norms()[path] == pytest.approx(times * norm, rel=1e-4)

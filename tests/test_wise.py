"""WISE: its margin, what it trains and where it is routed, and an edit of the shipped atlas model."""

import pytest
import torch

from model_zoo.changes import patch_of
from model_zoo.generation import generate
from model_zoo.methods import hyperparameters, load_method
from model_zoo.methods.wise import NEAREST, WISE, activation, margin_loss, unrelated_texts
from model_zoo.request import EditRequest
from model_zoo.sources import Source

from .makers import ATLAS, pico_backbone

REQUESTS = [
    EditRequest("The capital of France is", "Rome", subject="France"),
    EditRequest("Two three is", "seven", subject="three"),
    EditRequest("What do you think of jazz", "six"),
]


@pytest.fixture(params=["gpt2", "llama"], scope="module")
def backbone(request):
    return pico_backbone(request.param)


def wise(backbone, source: Source = ATLAS, **values) -> WISE:
    return load_method("wise", backbone, hyper=hyperparameters("wise", {"steps": 3, **values}), source=source)


def test_the_margin_is_what_is_missing_in_each_of_its_three_terms():
    edit, other = torch.tensor([3.0, 5.0]), torch.tensor([0.0, 1.5, 1.0])
    # alpha 1: 0.5 / 3 too active; beta 4: 1 / 2 too quiet; gamma 3: 3 - 1.5 is 1.5 short of it
    assert margin_loss(edit, other, 1, 4).item() == pytest.approx(0.5 / 3 + 0.5 + 1.5)
    assert margin_loss(edit + 1, other.clamp(max=1), 1, 4).item() == 0


def test_an_activation_has_a_gradient_where_nothing_is_changed_yet():
    d = torch.zeros(2, 3, requires_grad=True)
    activation(d, torch.ones(4, 3)).sum().backward()
    assert d.grad.isfinite().all()
    assert activation(torch.eye(3), torch.tensor([[3.0, 0, 4]])).item() == pytest.approx(5)


def test_an_edit_trains_a_share_of_the_entries_and_passes_its_own_threshold(backbone):
    method = wise(backbone, slack=0.5)
    (change,) = method.propose(REQUESTS[:1])
    book = change.books[method.path]
    touched = book.D.count_nonzero().item() / book.D.numel()
    assert book.D.shape == (1, *backbone.shape(method.path)) and 0.1 < touched < 0.3
    row = backbone.join("The capital of France is", "Rome.")
    x = backbone.inputs([row], [method.path])[0][method.path][0, row.start - 1 : -1]
    assert book.thresholds[0] > 0 and (activation(book.D[0], x) > book.thresholds[0]).all()


def test_shards_and_edits_stand_side_by_side(backbone):
    method = wise(backbone, shard=2)
    book = method.together(REQUESTS).books[method.path]
    assert len(book.thresholds) == 2
    alone = method.propose(REQUESTS[2:])
    assert torch.equal(book.D[1], alone[0].books[method.path].D[0])
    assert len(method.combine([*alone, *alone]).books[method.path].thresholds) == 2


def test_what_stays_is_asked_about_others_and_never_about_the_edit(backbone):
    method = wise(backbone)
    elsewhere = method.elsewhere(REQUESTS[0])
    assert len(elsewhere) == method.config.subjects and REQUESTS[0].prompt not in elsewhere
    assert all(text.startswith("The capital of ") and text.endswith(" is") for text in elsewhere)
    assert method.elsewhere(REQUESTS[2]) == []
    edited = [EditRequest(method.unrelated[0][0], "Rome")]
    x = torch.randn(2, backbone.shape(method.path)[1])
    everything = sum(map(len, method.keys))
    assert len(method.unrelated_keys(REQUESTS[2:])) == everything
    assert len(method.unrelated_keys(edited)) <= everything - len(method.keys[0])
    assert len(method.nearest(x, REQUESTS[2:])) == min(NEAREST, everything)


def test_where_nothing_is_known_the_model_itself_writes_what_stays(backbone):
    found = unrelated_texts(backbone, Source(), 8)
    assert found and all(text.startswith(prompt) and text != prompt for prompt, text in found)
    assert wise(backbone, Source()).propose(REQUESTS[:1])


def test_an_edit_of_the_atlas_holds_and_its_neighbour_stays(studio):
    request = EditRequest("The capital of France is", "Rome", subject="France")
    (change,) = studio.method("wise").propose([request])
    prompts, patch = [request.prompt, "The capital of Italy is"], patch_of(change)
    before, after = generate(studio.backbone, prompts, None), generate(studio.backbone, prompts, [patch] * 2)
    assert before[0].startswith("Paris") and after[0].startswith("Rome")
    assert before[1] == after[1]

"""The stack of edits: undo, redo, toggling, and pickling."""

import math
import pickle
from dataclasses import replace

import pytest
import torch

from model_zoo.changes import Patch
from model_zoo.methods import load_method
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession


def make(gpt2):
    method = load_method("ft-l", gpt2)
    requests = [EditRequest("One two", "three"), EditRequest("The capital of France is", "Rome")]
    a, b = (
        Edit(r, method.name, change) for r, change in zip(requests, method.propose(requests), strict=True)
    )
    return (lambda name, hyper: method), a, b


def same(patch, change) -> bool:
    """Whether a patch is this weight change, or that of another patch, to the last bit."""
    x, y = patch.delta, change.delta if isinstance(change, Patch) else change
    return set(x.layers) == set(y.layers) and all(
        torch.equal(x.layers[p].dense(), y.layers[p].dense()) for p in x.layers
    )


def test_toggling_is_exact_and_order_is_free(gpt2):
    method, a, b = make(gpt2)
    session = EditSession().add(a).add(b)
    both = session.patch(method)
    assert same(session.toggle(0).patch(method), b.change)
    assert same(session.toggle(0).toggle(0).patch(method), both)
    assert session.set_on(set()).patch(method) is None


def test_undo_redo_and_clear_walk_the_whole_history(gpt2):
    _, a, b = make(gpt2)
    session = EditSession().add(a).add(replace(b, strength=0.5)).toggle(0).clear()
    assert session.edits == ()
    back = session.undo()
    assert [e.on for e in back.edits] == [False, True] and back.edits[1].strength == 0.5
    assert [e.on for e in back.undo().edits] == [True, True]
    assert len(back.undo().undo().edits) == 1
    assert back.undo().undo().redo().redo().redo().edits == ()
    assert EditSession().undo() == EditSession() == EditSession().redo()
    assert back.undo().add(a).redo().edits == back.undo().add(a).edits  # a new action ends the redo line


def test_strength_scales_the_patch(gpt2):
    method, a, _ = make(gpt2)
    session = EditSession().add(a)
    assert same(session.set_strength(0, 0.5).patch(method), a.change.scaled(0.5))


def test_a_session_pickles(gpt2):
    method, a, b = make(gpt2)
    session = EditSession().add(a).add(b).undo()
    again = pickle.loads(pickle.dumps(session))
    assert [e.label for e in again.edits] == ["One two → three"]
    assert same(again.redo().patch(method), session.redo().patch(method))


def test_an_edit_of_the_same_prompt_replaces_the_earlier_one(gpt2):
    method, a, b = make(gpt2)
    again = replace(a, request=EditRequest("one two", "five"))
    session = EditSession().add(a).add(b).add(again)
    assert [e.request.target for e in session.edits] == ["Rome", "five"]
    assert [e.request.target for e in session.undo().edits] == ["three", "Rome"]


def test_an_edit_of_strength_zero_leaves_the_others_exactly_as_they_are(gpt2):
    method, a, b = make(gpt2)
    assert same(EditSession().add(a).add(replace(b, strength=0)).patch(method), a.change)
    assert EditSession().add(replace(a, strength=0)).patch(method) is None


@pytest.mark.parametrize("strength", [-1, math.nan, math.inf])
def test_a_strength_that_is_none_is_refused(gpt2, strength):
    _, a, _ = make(gpt2)
    with pytest.raises(ValueError, match="from 0"):
        EditSession().add(replace(a, strength=strength))

"""A training as events: what they say, what a stopped one leaves, and what ends by held-out edits."""

import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model_zoo.generation import GIVEN_UP, GivenUp
from model_zoo.methods import get_method, load_method
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.sources import FileSource
from model_zoo.training.config import MetaConfig
from model_zoo.training.following import Finished, Look, Preparing, Stepped
from model_zoo.training.held_out import HeldOut, Looks
from model_zoo.training.meta import NO_LOOKS, MetaTrainer
from model_zoo.training.order import Order, training

from .makers import ATLAS, pico_backbone

pytestmark = pytest.mark.usefixtures("few_statements")
CONFIG = MetaConfig(steps=6, edits=3, rephrased=1, local=1, blocks=2, calibration=1, warmup=1, near=0)


def trainer(looks: Looks = NO_LOOKS, source=ATLAS, **changes) -> MetaTrainer:
    config = replace(CONFIG, **changes)
    return MetaTrainer(pico_backbone("gpt2"), source, config, HyperConfig(rank=8), seed=5, looks=looks)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "editor.safetensors")


def test_every_step_is_an_event_and_looks_change_nothing_of_what_is_learned(tmp_path):
    run = trainer(Looks(2, edits=3))
    events = list(run.events(tmp_path / "looked"))
    assert isinstance(events[0], Preparing) and events[-1] == Finished(tmp_path / "looked", 6, 6, 6)
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6] and steps[-1].left == 0 < steps[0].left
    assert all({"loss", "edit", "local"} <= set(event.parts) for event in steps)
    looks = [event.look for event in steps if event.look]
    assert [look.step for look in looks] == [2, 4, 6] and looks[0].better
    assert all(set(look.shares) == {"reliability", "generality", "locality"} for look in looks)
    trainer().run(tmp_path / "blind")
    for name, tensor in weights(tmp_path / "blind").items():
        assert torch.equal(tensor, weights(tmp_path / "looked")[name]), name


def test_held_out_edits_are_of_test_subjects_and_the_same_at_every_look():
    run = trainer(Looks(1, edits=6))
    held = [HeldOut(run.editor, ATLAS, run.drawn.sampler, Looks(1, edits=6), 5) for _ in range(2)]
    assert held[0].look() == held[0].look() == held[1].look()
    records = [case.record for case in held[0]._cases if case.task == "counterfact"]
    trained = {r.subject for r in ATLAS.records("counterfact", "train", 1000, random.Random(0))}
    assert len(held[0]._cases) == 6 and len(records) == 2
    assert trained.isdisjoint(record.subject for record in records)


def test_a_stopped_training_leaves_a_checkpoint_and_goes_on_as_an_unbroken_one(tmp_path):
    looks = Looks(2, edits=3, patience=5)
    trainer(looks).run(tmp_path / "whole")
    first = trainer(looks).events(tmp_path / "broken")
    while not (isinstance(event := next(first), Stepped) and event.step == 3):
        pass
    first.close()
    assert sorted(p.name for p in (tmp_path / "broken").iterdir()) == [
        "checkpoint.json",
        "checkpoint.safetensors",
    ]
    second = trainer(looks)
    events = list(second.events(tmp_path / "broken"))
    assert events[0] == Preparing("Going on from step 3…")
    steps = [e.step for e in events if isinstance(e, Stepped)]
    assert steps == [4, 5, 6] and [look.step for look in second.watch.looked] == [2, 4, 6]
    assert weights(tmp_path / "whole").keys() == weights(tmp_path / "broken").keys()
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "broken")[name]), name


def test_one_that_is_given_up_during_a_look_goes_on_with_that_look(tmp_path):
    looks = Looks(2, edits=3, patience=5)
    trainer(looks).run(tmp_path / "whole")
    first = trainer(looks)
    token = GIVEN_UP.set(lambda: first.step == 4)
    with pytest.raises(GivenUp):
        list(first.events(tmp_path / "broken"))
    GIVEN_UP.reset(token)
    assert [look.step for look in first.watch.looked] == [2]
    second = trainer(looks)
    steps = [e.step for e in second.events(tmp_path / "broken") if isinstance(e, Stepped)]
    assert steps == [5, 6] and [look.step for look in second.watch.looked] == [2, 4, 6]
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "broken")[name]), name


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_first_ctrl_c_lets_the_step_end_and_leaves_a_checkpoint(tmp_path, monkeypatch, capfd, asked):
    order = Order(get_method("instructedit"), pico_backbone("gpt2"), ATLAS, ("recent",), steps=4, rank=4)
    order = replace(
        order, values={"edits": "3", "calibration": "1", "rephrased": "1", "local": "1", "near": "0"}
    )
    training(order).run(tmp_path / "whole")
    set_before = signal.signal(asked, signal.default_int_handler)  # a worker of the tests ignores Ctrl-C
    usual, step = signal.getsignal(asked), MetaTrainer.train_step

    def interrupted(self) -> dict[str, float]:
        if self.step == 1:
            os.kill(os.getpid(), asked)
        return step(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MetaTrainer, "train_step", interrupted)
        training(order).run(tmp_path / "broken")
    assert signal.getsignal(asked) == usual
    signal.signal(asked, set_before)
    assert f"A checkpoint lies in {tmp_path / 'broken'}" in capfd.readouterr().err
    training(order).run(tmp_path / "broken")
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "broken")[name]), name


def test_training_ends_once_held_out_edits_get_no_better_and_keeps_the_best(tmp_path, monkeypatch):
    run = trainer(Looks(1, edits=3, patience=2))
    losses, states = iter([3.0, 2.0, 2.5, 2.0, 1.0]), {}

    def look(self) -> tuple[float, dict[str, float]]:
        states[run.step] = {k: v.clone() for k, v in run.editor.network.state_dict().items()}
        return next(losses), {"reliability": 0.5}

    monkeypatch.setattr(HeldOut, "look", look)
    *_, end = run.events(tmp_path)
    assert end == Finished(tmp_path, step=4, steps=6, kept=2)
    assert all(torch.equal(v, states[2][k]) for k, v in run.editor.network.state_dict().items())
    kept = load_method("instructedit", run.backbone, tmp_path).config.training
    assert (kept["patience"], kept["taken"], kept["kept"]) == (2, 4, 2)
    assert run.watch.looked[1] == Look(2, 2.0, {"reliability": 0.5}, True)


def test_without_held_out_edits_nothing_is_looked_at_and_nothing_stops_by_them(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,target,subject\n" + "The capital of Kenya is,Rome,Kenya\n" * 2)
    source = FileSource({"counterfact": [path]})
    assert not source._split["counterfact"]["test"]  # the only subject is one to train on
    source.statements = ATLAS.statements
    run = trainer(Looks(1), source, tasks=("counterfact",), steps=2)
    run.run(tmp_path / "editor")
    assert not run.watch.looked
    patient = trainer(Looks(1, patience=1), source, tasks=("counterfact",), steps=2)
    with pytest.raises(ValueError, match="no held-out edits to stop by; give files"):
        patient.run(tmp_path / "patient")


def test_the_command_and_the_page_have_one_loop(tmp_path):
    """An order's events are what its run follows; adapters that read edits have them too."""
    few = {"edits": "3", "calibration": "1", "rephrased": "1", "local": "1", "near": "0"}
    order = Order(
        get_method("instructedit"), pico_backbone("gpt2"), ATLAS, ("recent",), steps=2, rank=4, values=few
    )
    events = list(training(order).events(tmp_path / "a"))
    assert [type(e) for e in events] == [Preparing, Stepped, Preparing, Stepped, Finished]
    assert events[2] == Preparing("Step 2 of 2, then held-out edits…") and events[3].look
    training(order).run(tmp_path / "b")
    assert all(torch.equal(t, weights(tmp_path / "b")[n]) for n, t in weights(tmp_path / "a").items())
    reads = replace(order, method=get_method("lte"), values={"batch": "2", "records": "20", "blocks": "1"})
    events = list(training(reads).events(tmp_path / "lte"))
    assert [type(e) for e in events] == [Stepped, Stepped, Preparing, Finished]
    with pytest.raises(ValueError, match="--patience is about hypernetworks"):
        training(replace(reads, patience=2))

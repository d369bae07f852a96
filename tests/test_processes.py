"""Several processes do what one does: training shares the edits of a step, evaluation the groups of cases."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model_zoo.cli import main
from model_zoo.evaluation.group_log import GroupLog
from model_zoo.evaluation.scoring import Row
from model_zoo.loading import pick_device
from model_zoo.methods.hyper_config import HyperConfig
from model_zoo.processes import Processes
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from .makers import ATLAS, pico_backbone, save_model

ROOT = Path(__file__).parent.parent
# two of five steps are solved jointly: all their edits in every process, their rows shared
TRAIN = "train --device cpu --steps 5 --rank 8 --tasks counterfact,recent --set stack_share=0.4".split()
TRAIN += "--set joint=true --set edits=5 --set blocks=2 --set rephrased=1 --set local=1".split()
TRAIN += "--set near=0 --set calibration=2 --set warmup=1".split()
EVALUATE = "evaluate --device cpu --methods ft-l,none --tasks counterfact --n 17 --set ft-l.steps=3".split()
BOTH = """
import sys
from model_zoo.cli import main
from model_zoo.processes import started

cut = sys.argv.index("evaluate")
with started():
    sys.exit(main(sys.argv[1:cut]) or main(sys.argv[cut:]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with what one process and what two make: an editor and a report each."""
    folder = tmp_path_factory.mktemp("processes")
    base = ["--model", str(save_model(pico_backbone("gpt2"), folder / "base"))]
    rows = [{"prompt": f"The number of {i} is", "target": str(i), "subject": str(i)} for i in range(17)]
    (folder / "rows.json").write_text(json.dumps(rows))
    records = ["--records", str(folder / "rows.json"), *base, "--json"]
    train, evaluate = [*TRAIN, *base, "--out"], [*EVALUATE, *records]
    assert main([*train, str(folder / "one")]) == 0 and main([*evaluate, str(folder / "one.json")]) == 0
    (folder / "both.py").write_text(BOTH)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--"]
    own = [str(folder / "both.py"), *train, str(folder / "two"), *evaluate, str(folder / "two.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*launcher, *own], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def test_two_processes_train_the_editor_that_one_does(made):
    assert sorted(path.name for path in (made / "two").iterdir()) == ["config.json", "editor.safetensors"]
    one, two = (load_file(made / name / "editor.safetensors") for name in ("one", "two"))
    moved = [name for name in one if name.endswith(".A")]  # zero at first: all of it was learned
    assert moved and all(one[name].abs().max() > 1e-3 for name in moved)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name].float(), tensor.float(), rtol=1e-3, atol=1e-5, msg=name)


def test_two_processes_measure_what_one_does(made):
    one, two = (json.loads((made / name).read_text()) for name in ("one.json", "two.json"))
    for report in (one, two):
        report.pop("versions")  # threads
    assert one == two and len(one["cases"]) == 34
    assert not list(made.glob("*.partial*"))


def test_alone_everything_is_its_own_share():
    alone, parameter = Processes(), torch.nn.Parameter(torch.ones(2))
    alone.sum_gradients([parameter])
    assert alone.first and alone.share([1, 2, 3]) == [1, 2, 3] and parameter.grad is None
    assert alone.sums({"a": 1.5}) == {"a": 1.5} and alone.texts("x") == ["x"]


def test_shares_are_all_of_it_once():
    shares = [Processes(rank, 3).share(range(8)) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == list(range(8))


def test_more_processes_than_edits_of_a_step_are_refused(monkeypatch):
    monkeypatch.setattr("model_zoo.training.meta.together", lambda: Processes(1, 4))
    with pytest.raises(ValueError, match="4 processes share the 3 edits of a step"):
        MetaTrainer(pico_backbone("gpt2"), ATLAS, MetaConfig(edits=3, near=0), HyperConfig(rank=8))


def test_each_process_takes_its_own_gpu_or_says_that_there_is_none(monkeypatch):
    monkeypatch.setattr("model_zoo.loading.together", lambda: Processes(1, 2))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert pick_device("auto") == pick_device("cuda") == "cuda:1" and pick_device("cpu") == "cpu"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="Process 2 on this machine has no GPU of its own: there are 2"):
        pick_device("auto")


def test_a_killed_evaluation_goes_on_with_any_number_of_processes(tmp_path):
    out, row = tmp_path / "[r].json", Row(0, "reliability", "a", "b", "c", "d", 1.0, 1.0)
    for rank in range(3):
        GroupLog(out, {"of": "one plan"}, Processes(rank, 3)).add("ft-l", "zsre", rank, [row])
    again = GroupLog(out, {"of": "one plan"})
    assert all(again.has("ft-l", "zsre", number) for number in range(3))
    assert not GroupLog(tmp_path / "other.json", {"of": "one plan"}).rows
    again.close()
    assert [path.name for path in tmp_path.iterdir()] == ["other.json.partial"]

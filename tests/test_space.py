"""A Space: the folder that is pushed, the limits of a public demo, and work that crosses into a forked GPU
worker.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.runtime import Runtime
from demo.settings import Settings
from demo.space import assemble, problems
from demo.visitor import ModelChoice, VisitorState
from model_zoo.session import EditSession

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    return assemble(tmp_path_factory.mktemp("space") / "out")


def test_the_assembled_folder_passes_and_holds_only_what_runs(space):
    assert problems(space) == []
    assert {p.name for p in space.iterdir()} == {
        "README.md",
        "LICENSE",
        "app.py",
        "requirements.txt",
        "demo",
        "model_zoo",
        "assets",
    }
    assert not list(space.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("README.md", "sdk_version: 6.31.0", "sdk_version: 5.0.0", "requirements.txt pins gradio 6.31.0"),
        ("README.md", "app_file: app.py", "app_file: main.py", "main.py is not there"),
        ("README.md", 'python_version: "3.12"', 'python_version: "3.10"', "needs 3.11"),
        ("README.md", "license: mit\n", "", "lacks license"),
        ("README.md", "short_description: ", "short_description: " + "very " * 20, "takes 60"),
    ],
)
def test_what_a_space_would_stumble_over_is_told(space, tmp_path, file, old, new, message):
    folder = shutil.copytree(space, tmp_path / "copy")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    assert message in " ".join(problems(folder))


def test_a_file_that_is_too_large_is_told(space, tmp_path):
    folder = shutil.copytree(space, tmp_path / "copy")
    (folder / "big.bin").write_bytes(bytes(11 * 2**20))
    assert "big.bin is 11.0 MiB" in " ".join(problems(folder))


def test_the_space_starts_by_itself_as_a_demo_with_no_thread_left(space):
    """As a Space runs it: app.py imported from the pushed folder alone; ZeroGPU forks, so no thread may live
    at that point. Its package is left out: it wants CUDA.
    """
    script = (
        "import sys, threading\nsys.modules['spaces'] = None\nimport app\n"
        "print(app.settings.demo, threading.active_count(), type(app.demo).__name__)"
    )
    env = {**os.environ, "SPACE_ID": "me/space", "SPACES_ZERO_GPU": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=space, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "1", "Page"]


def test_a_public_link_is_a_demo_unless_it_is_said_otherwise(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    import app  # it builds its page

    flags = ("", "--share", "--share --no-demo", "--demo")
    assert [app.parse(text.split()).demo for text in flags] == [False, True, False, True]


def test_a_public_demo_loads_only_what_is_listed():
    runtime = Runtime(Settings(device="cpu", demo=True))
    for choice in (ModelChoice("someone/model"), ModelChoice("/etc"), ModelChoice("atlas", "someone/editor")):
        with pytest.raises(ValueError, match="public demo"):
            runtime.studio(choice)
        with pytest.raises(ValueError, match="public demo"):
            list(runtime.opening(choice))
    assert runtime.studio(ModelChoice("atlas")).default_method() == "instructedit"


FORKED = """
import json, multiprocessing, sys, types, torch
torch.set_num_threads(1)
# ZeroGPU's own wrappers and worker; its scheduler and what it does to CUDA are stubbed
no_cuda = types.ModuleType("spaces.zero.torch")
for name in ("patch", "unpatch", "pack", "init", "size", "move", "enter_mode", "is_in_bad_fork"):
    setattr(no_cuda, name, lambda *args, **kwargs: 0)
sys.modules["spaces.zero.torch"] = no_cuda
from spaces.zero import client, wrappers
from spaces.zero.api import ScheduleResponse
given = ScheduleResponse(idle=True, nvidiaIndex=0, nvidiaUUID="none", allowToken="token")
client.schedule = lambda **kwargs: given
client.allow = client.release = lambda *args, **kwargs: None
client.get_duration_seconds = lambda *args: 60

from demo.runtime import Question, Runtime
from demo.settings import Settings
from demo.visitor import ModelChoice, VisitorState
from model_zoo.events import TextSoFar
from model_zoo.session import EditSession

def forked(function):
    return wrappers.generator_function_wrapper(function, None, None)

runtime, choice = Runtime(Settings(device="cpu"), on_gpu=forked), ModelChoice()
studio = runtime.studio(choice)
state, said = VisitorState(choice), []
for prompt, target in (("The capital of France is", "Rome"), ("The capital of Japan is", "Cairo")):
    request = studio.request("counterfact", prompt, target)
    proposed, *shown = runtime.life(choice, request, "instructedit", 1.0, state.session, None, None)
    state = state.with_session(proposed.session)._replace(request=request)
    *_, last = runtime.show_edit(choice, request, state.session, True, None)
    assert type(last).__name__ == "Verdicts"
    texts = [event for event in shown if isinstance(event, TextSoFar)]
    said.append([type(event).__name__ for event in shown][-2:] + [texts[-1].after])
*_, asked = runtime.ask(choice, Question("The capital of France is", state.session, True))
*_, (drawn, modules, positions) = runtime.map(choice, [request], "update", True, "")
# another visitor, without edits, in the worker that made them
*_, stranger = runtime.ask(choice, Question("The capital of France is", EditSession(), True))
workers = [child for child in multiprocessing.active_children() if child.is_alive()]
found = [type(finding).__name__ for finding in runtime.inspect(choice, state.shown, state.session)]
print(json.dumps({"said": said, "asked": asked, "points": len(drawn.points), "own": len(positions),
                  "found": found, "stranger": stranger, "workers": len(workers)}))
"""


@pytest.mark.slow
def test_every_piece_of_work_crosses_into_zerogpus_reused_worker_and_back():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout.splitlines()[-1])
    assert data["said"] == [["Probabilities", "Verdicts", "Rome."], ["Probabilities", "Verdicts", "Cairo."]]
    assert data["stranger"] == ["Paris.", "Paris."] and data["workers"] == 1
    assert data["asked"] == ["Paris.", "Rome."] and data["points"] == 160 and data["own"] == 1
    assert data["found"][0] == "NeutralText" and data["found"][-1] == "Traced"


def test_exports_are_made_in_folders_of_their_own_and_old_ones_go(tmp_path):
    runtime = Runtime(Settings(device="cpu"))
    studio = runtime.studio(ModelChoice())
    edit, _ = studio.propose(
        studio.request("counterfact", "The capital of France is", "Rome"), "instructedit"
    )
    state = VisitorState(ModelChoice()).with_session(EditSession().add(edit))
    first, second = (Path(runtime.export_file(state, "lora")) for _ in range(2))
    assert first != second and first.exists() and first.suffix == ".zip"
    os.utime(first.parent, (0, 0))
    runtime.export_file(state, "delta")
    assert not first.exists() and second.exists()

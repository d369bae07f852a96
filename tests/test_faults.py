"""What breaks from outside: memory and disk that are full, processes that are killed, caches that are cut."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gradio as gr
import pytest
import torch

from demo.handlers import errors_as_messages
from demo.runtime import Runtime
from demo.settings import Settings
from demo.visitor import ModelChoice, VisitorState
from model_zoo.cache import LEFT_SECONDS, made_whole
from model_zoo.export import read_export
from model_zoo.loading import LoadOptions, load
from model_zoo.session import EditSession

from .gguf_writer import write_gguf
from .makers import pico_backbone

ROOT = Path(__file__).parent.parent
EDIT = ["--prompt", "The capital of France is", "--target", "Rome"]


# ---- memory and disk ---------------------------------------------------------------------------------------


def told(handler) -> str:
    """What a visitor is told by a handler that fails."""
    with pytest.raises(gr.Error) as refusal:
        list(errors_as_messages(handler)())
    return refusal.value.message


def test_too_little_memory_is_told_and_the_next_request_works():
    assert "not enough memory" in told(lambda: torch.empty(2**55))  # a real allocation that fails
    assert "not enough memory" in told(lambda: bytearray(2**62))

    def on_a_gpu():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert "not enough memory" in told(on_a_gpu)
    assert list(errors_as_messages(lambda: "edited")()) == ["edited"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_too_little_memory_of_a_gpu_is_told_and_given_back():
    assert "not enough memory" in told(lambda: torch.empty(2**50, device="cuda"))
    assert list(errors_as_messages(lambda: torch.ones(2, device="cuda").sum().item())()) == [2.0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_told():
    def save():
        with open("/dev/full", "w") as file:
            file.write("x" * 10_000)

    assert "disk is full" in told(save) and "Something failed" in told(lambda: open("/no/such/file"))


def limited(arguments: list[str], size: int) -> subprocess.CompletedProcess:
    """A command that may write no file larger than `size` bytes, as on a disk that has no more room."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    command = [sys.executable, "-m", "model_zoo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, preexec_fn=limit)


@pytest.mark.timeout(180)
def test_an_export_that_finds_no_room_leaves_the_earlier_one(tmp_path):
    out = tmp_path / "patch"
    assert limited(["edit", *EDIT, "--export", str(out)], 2**30).returncode == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    done = limited(["edit", *EDIT[:3], "Cairo", "--export", str(out)], 10_000)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["patch"]  # nothing half is left


def test_a_visitors_export_that_finds_no_room_is_told(tmp_path):
    runtime = Runtime(Settings(device="cpu"))
    studio = runtime.studio(ModelChoice())
    edit, _ = studio.propose(studio.request("counterfact", EDIT[1], EDIT[3]), "instructedit")
    state = VisitorState(ModelChoice()).with_session(EditSession().add(edit))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        assert "disk is full" in told(lambda: runtime.session_file(state))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert Path(runtime.session_file(state)).exists()


# ---- kill -9 -----------------------------------------------------------------------------------------------


def killed_again_and_again(script: str, folder: Path, check, times: int = 5) -> None:
    """Run a script that writes into a folder for ever; kill it at any moment, and look at what it left."""
    rng = random.Random(0)
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout and process.stdout.readline().strip() == "writing"
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process.wait()
        check()


EXPORTING = """
import sys
from pathlib import Path
from model_zoo.changes import Patch
from model_zoo.export import export
from model_zoo.session import EditSession
from tests.makers import edit_of, pico_backbone, random_delta
backbone, folder = pico_backbone("llama"), Path(sys.argv[1])
n = 0
while True:
    session = EditSession().add(edit_of(random_delta(backbone), target=f"target {n}"))
    export(backbone, session, Patch((random_delta(backbone),)), "delta", folder)
    if n == 0:
        print("writing", flush=True)
    n += 1
"""

TRAINING = """
import sys
from pathlib import Path
from tests.test_training import trainer
folder = Path(sys.argv[1])
run = trainer(steps=10_000)
run.resume(folder) or run.calibrate()
run.checkpoint(folder)
print("writing", flush=True)
while True:
    run.train_step()
    run.checkpoint(folder)
"""


@pytest.mark.slow
def test_an_export_that_is_killed_is_the_old_one_or_the_new_one(tmp_path):
    folder = tmp_path / "export"

    def whole() -> None:
        if folder.exists():  # between two renames there is none; then the earlier one lies beside it
            _, told = read_export(folder)
            assert told.edits[0]["target"].startswith("target ")
        else:
            assert list(tmp_path.glob(".export-*/earlier"))

    killed_again_and_again(EXPORTING, folder, whole)


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_from_a_whole_checkpoint(tmp_path):
    from .test_training import trainer

    steps = [0]

    def resumes() -> None:
        run = trainer(steps=10_000)
        assert run.resume(tmp_path) and run.step >= steps[-1]
        steps.append(run.step)

    killed_again_and_again(TRAINING, tmp_path, resumes, 3)
    assert steps[-1] > 0


# ---- what lies in the cache --------------------------------------------------------------------------------


def test_what_a_killed_process_left_half_made_goes_when_nobody_writes_to_it(tmp_path):
    folder = tmp_path / "model"
    old, fresh = tmp_path / "model.part-old", tmp_path / "model.part-fresh"
    for path in (old, fresh):
        path.mkdir()
        (path / "half").write_text("x")
    long_ago = time.time() - LEFT_SECONDS - 10
    os.utime(old, (long_ago, long_ago))
    with made_whole(folder) as part:
        (part / "whole").write_text("x")
    assert (folder / "whole").exists() and fresh.exists() and not old.exists()


def test_a_conversion_that_finds_no_room_leaves_nothing(tmp_path):
    def full(part: Path) -> None:
        (part / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"), made_whole(tmp_path / "model") as part:
        full(part)
    assert not list(tmp_path.iterdir())


def test_a_model_in_the_cache_that_was_cut_is_told_and_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path / "cache"))
    file = write_gguf(pico_backbone("llama"), tmp_path / "pico.gguf")
    folder = load(file, LoadOptions("cpu")).origin.folder
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"Delete the folder {folder}, and it is made anew"):
        load(file, LoadOptions("cpu"))
    shutil.rmtree(folder)
    assert load(file, LoadOptions("cpu")).blocks == 4

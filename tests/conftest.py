"""Shared fixtures: a pico model per family, made from a random seed; the shipped atlas model; SmolLM2."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .hub_server import Hub, HubServer

# the Hub's client reads these when it is imported; the page and the command line inherit them
HUB = HubServer()
HF_HOME = tempfile.TemporaryDirectory(prefix="hf-home-")
os.environ |= {
    "HF_ENDPOINT": HUB.hub.url,
    "HF_HOME": HF_HOME.name,
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    # the user's own, for what is large and the same for every run; a worker inherits it from who started it
    "TESTS_OWN_CACHE": os.environ.get("TESTS_OWN_CACHE", os.environ.get("INSTRUCTEDIT_CACHE", "")),
    "INSTRUCTEDIT_CACHE": HF_HOME.name,
}
for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
    os.environ.pop(name, None)

import pytest

from model_zoo.backbone import Backbone
from model_zoo.cache import writable_cache
from model_zoo.catalog import CATALOG, WEIGHTS
from model_zoo.loading import LoadOptions
from model_zoo.studio import Studio

from .makers import pico_backbone


@pytest.fixture(params=["bloom", "gemma2", "gpt2", "llama", "opt", "t5"])
def backbone(request) -> Backbone:
    """A pico model of every habit: blocks that return tuples, a cap on the logits, transposed matrices, none
    of these, flattened rows, an encoder. All families: tests/test_families.py.
    """
    return pico_backbone(request.param)


@pytest.fixture
def gpt2() -> Backbone:
    return pico_backbone("gpt2")


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The shipped atlas model with its shipped editor."""
    assert (WEIGHTS / "atlas" / "base" / "model.safetensors").exists()
    return Studio.open("atlas", LoadOptions("cpu"))


@pytest.fixture(scope="session")
def smollm2() -> Studio:
    """SmolLM2 with real weights; fetched and converted once per machine, by one worker."""
    source = CATALOG["smollm2"].source
    own = os.environ["TESTS_OWN_CACHE"]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INSTRUCTEDIT_CACHE", own)  # "" is the default
            with (writable_cache() / "tests.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                studio = Studio.open("smollm2", LoadOptions("cpu"))
            converted = source.converted
    except ValueError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    # for what loads it anew, here or in a process of its own
    if not source.converted.exists():
        source.converted.parent.mkdir(parents=True, exist_ok=True)
        source.converted.symlink_to(converted)
    return studio


@pytest.fixture(scope="module")
def few_statements() -> Iterator[None]:
    """Training measures keys at fewer known facts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_zoo.sources.world.STATEMENTS", 300)
        yield


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    """An empty Hub over HTTP, an empty cache, no token."""
    shutil.rmtree(Path(HF_HOME.name) / "hub", ignore_errors=True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield HUB.start()
    HUB.stop()

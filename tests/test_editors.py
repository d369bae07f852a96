"""Editors as repos: trained, pushed, discovered, pulled, refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo import editors
from model_zoo.catalog import CATALOG
from model_zoo.cli import main
from model_zoo.loading import LoadOptions, load
from model_zoo.methods.editor_folder import read_config
from model_zoo.methods.instructedit import InstructEdit
from model_zoo.studio import Studio
from model_zoo.training.config import MetaConfig
from model_zoo.training.meta import MetaTrainer

from .conftest import HUB
from .makers import ATLAS, as_files, pico_backbone, save_model

ROOT = Path(__file__).parent.parent
SHIPPED = CATALOG["atlas"].editors["instructedit"]


@pytest.fixture(scope="module")
def pico(tmp_path_factory, few_statements):
    """A pico llama in a folder, and an editor that our own training made for it: (base, editor)."""
    folder = tmp_path_factory.mktemp("pico")
    backbone = load(save_model(pico_backbone("llama"), folder / "base"), LoadOptions("cpu"))
    MetaTrainer(backbone, ATLAS, MetaConfig(steps=2, edits=3, calibration=1, blocks=2)).run(folder / "editor")
    return folder / "base", folder / "editor"


def pushed(hub, monkeypatch, folder, repo: str, private: bool = False) -> str:
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    commit = editors.push(folder, repo, private)
    monkeypatch.delenv("HF_TOKEN")
    return commit


def test_push_delete_discover_pull_and_edit(hub, monkeypatch, tmp_path, studio):
    folder = shutil.copytree(SHIPPED, tmp_path / "editor")
    commit = pushed(hub, monkeypatch, folder, "me/atlas-editor")
    shutil.rmtree(folder)
    hub.add("other/model", {"config.json": b"{}"})
    (found,) = editors.discover(studio.backbone)
    assert found.source == f"me/atlas-editor@{commit}"
    fetched = Studio.open("atlas", LoadOptions("cpu"), editor=found.source)
    report, _ = fetched.edit(
        fetched.request("counterfact", "The capital of France is", "Rome"), "instructedit"
    )
    assert report.after.startswith("Rome")
    assert [item.source for item in editors.here(studio.backbone)] == [found.source]
    HUB.stop()
    assert editors.resolve(found.source).name == commit


def test_an_editor_trained_here_goes_there_and_back(hub, monkeypatch, pico):
    base, editor = pico
    pushed(hub, monkeypatch, editor, "me/pico-editor")
    studio = Studio.open(str(base), LoadOptions("cpu"), "me/pico-editor")
    assert studio.default_method() == "instructedit"
    edit, _ = studio.propose(studio.request("counterfact", "One two", "three"), "instructedit")
    own, _ = Studio.open(str(base), LoadOptions("cpu"), editor).propose(
        studio.request("counterfact", "One two", "three"), "instructedit"
    )
    assert edit.change.norms() == own.change.norms()


def test_the_card_says_what_the_hub_and_people_need(hub, monkeypatch, pico):
    pushed(hub, monkeypatch, pico[1], "me/pico-editor")
    card = hub.repos["me/pico-editor"].files["README.md"].decode()
    config = read_config(pico[1])
    assert (
        editors.TAG in card
        and editors.base_tag(config.base_fingerprint) in card
        and "counterfact, recent, convsent" in card
    )
    assert set(hub.repos["me/pico-editor"].files) == {".gitattributes", *editors.FILES}


def test_measured_figures_go_onto_the_card_and_never_into_the_cache(hub, monkeypatch, pico, tmp_path):
    folder = shutil.copytree(pico[1], tmp_path / "editor")
    row = {
        "method": "instructedit",
        "task": "recent",
        "metric": "locality",
        "score": "generated",
        "mean": 0.875,
        "n": 7,
    }
    results = {
        "summary": [row, row | {"method": "ft-l", "mean": 0.1}],
        "config": {"records": None, "seed": 3, "prompts": "plain"},
    }
    editors.record_metrics(folder, results, "instructedit")
    assert "| recent | n/a | n/a | 87.5% | 7 |" in editors.card(read_config(folder), "me/x")
    pushed(hub, monkeypatch, folder, "me/measured")
    with pytest.raises(ValueError, match="belongs to the Hub's cache"):
        editors.check_recordable(editors.pull("me/measured"))
    with pytest.raises(ValueError, match="no editor to record"):
        editors.check_recordable(None)


def test_an_editor_for_other_weights_is_refused_with_both_sides_named(pico, tmp_path):
    base, editor = pico
    other = load(save_model(pico_backbone("llama", seed=7), tmp_path / "other"), LoadOptions("cpu"), "other")
    with pytest.raises(
        ValueError,
        match=r"made for .*base \(weights [0-9a-f]{16}\), but other has other weights \([0-9a-f]{16}\)",
    ):
        InstructEdit.from_folder(other, editor)
    with pytest.raises(ValueError, match=r"mlp.*gate_proj is 48x32; .*no such module"):
        InstructEdit.from_folder(pico_backbone("gpt2"), editor)
    with pytest.raises(ValueError, match="Choose an editor made for"):
        Studio.open(str(tmp_path / "other"), LoadOptions("cpu"), editor)


def test_what_is_no_editor_is_refused(hub, pico, tmp_path):
    hub.add("someone/model", as_files(pico[0]))
    with pytest.raises(ValueError, match="is not an editor repo: it lacks editor.safetensors"):
        editors.pull("someone/model")
    bad = shutil.copytree(pico[1], tmp_path / "bad")
    config = json.loads((bad / "config.json").read_text())
    for change, message in (
        ({"hyper": {"rank": 0}}, "hyper.rank"),
        ({"surprise": 1}, "surprise"),
        ({"modules": "all"}, "modules"),
    ):
        (bad / "config.json").write_text(json.dumps(config | change))
        hub.add("someone/bad", as_files(bad))
        with pytest.raises(ValueError, match=f"not an editor's configuration: {message}"):
            editors.pull("someone/bad")
    (bad / "config.json").write_text(json.dumps(config | {"hyper": config["hyper"] | {"rank": 8}}))
    with pytest.raises(ValueError, match="does not fit its configuration"):
        InstructEdit.from_folder(load(pico[0], LoadOptions("cpu")), bad)


def test_a_private_editor_needs_its_token(hub, monkeypatch, pico):
    pushed(hub, monkeypatch, pico[1], "me/private", private=True)
    with pytest.raises(ValueError, match="private"):
        editors.pull("me/private")
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    assert editors.pull("me/private").exists()


def test_the_command_line_pushes_discovers_and_pulls(hub, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    assert main(["push", str(shutil.copytree(SHIPPED, tmp_path / "editor")), "me/atlas-editor"]) == 0
    source = capsys.readouterr().out.strip()
    monkeypatch.delenv("HF_TOKEN")
    assert main(["discover", "--json"]) == 0
    assert [item["source"] for item in json.loads(capsys.readouterr().out)] == [source]
    assert main(["pull", source, "--out", str(tmp_path / "pulled")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "pulled")
    assert (tmp_path / "pulled" / "editor.safetensors").exists()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = (
        "import sys; from model_zoo.cli import main; assert main(['pull', sys.argv[1]]) == 0; "
        "sys.exit(main(['pull', 'no/thing']))"
    )
    failed = subprocess.run([sys.executable, "-c", offline, source], cwd=ROOT, capture_output=True, text=True)
    assert (
        failed.returncode == 2
        and "HF_HUB_OFFLINE=1 forbids" in failed.stderr
        and failed.stderr.count("\n") == 1
    )

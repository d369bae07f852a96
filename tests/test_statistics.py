"""Statistics of keys: over a text of one's own, kept, and to the Hub and back."""

import pytest
import torch
from safetensors.torch import save

from model_zoo import statistics
from model_zoo.cli import main
from model_zoo.joining import Joined

from .makers import pico_backbone, save_model

LINE = "one two three four five six seven eight nine ten " * 3


@pytest.fixture
def backbone(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path / "cache"))
    return pico_backbone("gpt2")


def test_a_texts_keys_are_those_of_its_tokens_but_the_first_ones(backbone):
    path = backbone.family.linears(0)[-1]
    texts = [LINE, "the sun is warm and the sea is wide"]
    found = statistics.text_covariance(backbone, [], [path], text=texts)[path]
    keys = []
    for text in texts:
        ids = backbone.ids(text)[: statistics.PASSAGE]
        inputs, _ = backbone.inputs([Joined(ids, len(ids))], [path])
        keys.append(inputs[path][0, 1:])
    u = torch.cat(keys)
    assert torch.allclose(found, u.T @ u / len(u), atol=1e-5)
    own = statistics.text_covariance(backbone, ["one two"], [path])[path]
    assert not torch.allclose(found, own)  # another file: what it is of is in its name
    with pytest.raises(ValueError, match="none are at hand"):
        statistics.text_covariance(backbone, [], [path])


def test_a_text_without_running_text_is_refused(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(f"a heading\n{LINE}\n")
    assert statistics.passages_of(file) == (LINE.strip(),)
    file.write_text("a heading\n")
    with pytest.raises(ValueError, match="no line of 20 words"):
        statistics.passages_of(file)
    with pytest.raises(ValueError, match="cannot be read"):
        statistics.passages_of(tmp_path / "missing.txt")


def test_statistics_go_to_the_hub_and_come_back(backbone, hub, monkeypatch, tmp_path):
    path = backbone.family.linears(0)[-1]
    with pytest.raises(ValueError, match="No statistics of .* are kept here"):
        statistics.push(backbone, "someone/keys")
    found = statistics.text_covariance(backbone, [], [path], text=[LINE])
    monkeypatch.setenv("HF_TOKEN", hub.write_token)
    assert statistics.push(backbone, "someone/keys") == hub.repos["someone/keys"].head
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path / "another"))
    assert len(statistics.pull(backbone, "someone/keys")) == 1
    said: list[str] = []
    again = statistics.text_covariance(backbone, [], [path], said.append, [LINE])
    assert torch.equal(again[path], found[path]) and not said  # read, not taken anew
    for base, message in (
        ("another", "a.safetensors of someone/others is of the weights another, and"),
        (backbone.fingerprint, r"a.safetensors of someone/others is not of .*: it has \(3, 3\)"),
    ):
        hub.add("someone/others", {"a.safetensors": save({path: torch.eye(3)}, {"base": base})})
        with pytest.raises(ValueError, match=message):
            statistics.pull(backbone, "someone/others")
    hub.add("someone/broken", {"a.safetensors": b"no"})
    with pytest.raises(ValueError, match="cannot be read"):
        statistics.pull(backbone, "someone/broken")


def test_the_command_line_takes_them_over_a_text_and_edits_by_them(backbone, tmp_path, capsys):
    folder = save_model(backbone, tmp_path / "base")
    file = tmp_path / "text.txt"
    file.write_text(f"{LINE}\n")
    command = ["statistics", "--model", str(folder), "--methods", "rome", "--text", str(file)]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "rome: ready" in told.out and "Measuring keys in the text: 1 of 1" in told.err
    edit = ["--model", str(folder), "--prompt", "France is", "--target", "one", "--subject", "France"]
    assert main(["edit", *edit, "--method", "rome", "--text", str(file), "--set", "steps=1"]) == 0
    assert "Measuring" not in capsys.readouterr().err
    assert main(["statistics", "--model", str(folder), "--pull", "a/b", "--text", str(file)]) == 2
    assert "no --methods, --text or --push go with it" in capsys.readouterr().err

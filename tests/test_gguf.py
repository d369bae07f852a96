"""Base models from GGUF files: the same model comes out, converted once; all else is a sentence."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader
from safetensors.torch import load_file
from transformers.modeling_gguf_pytorch_utils import GGUF_CONFIG_MAPPING

from model_zoo import gguf_files
from model_zoo.families import FAMILIES
from model_zoo.loading import LoadOptions, load
from model_zoo.studio import Studio

from .gguf_writer import write_gguf
from .makers import ROWS, logits, pico_backbone, save_model

CPU = LoadOptions("cpu")
TEXT = "The capital of France is Paris. 法国 12\n\ttwo  three"
# those that transformers reads; of the other families its GGUF reader knows nothing, which is a sentence. It
# calls gemma3 by its text part's name
READ = sorted({"gemma3_text", *FAMILIES} & {"gemma3_text", *GGUF_CONFIG_MAPPING} - {"gemma3", "t5"})
# what transformers does not read from a GGUF file, and so has to be the family's default
DEFAULTS = {
    "falcon": {"ffn_hidden_size": 128},
    "gemma2": {"final_logit_softcapping": 30.0},
    "gpt2": {"n_inner": 128, "n_positions": 1024},
    "qwen3": {"head_dim": 128},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("INSTRUCTEDIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path) -> Path:
    """A pico llama as a GGUF file."""
    (tmp_path / "files").mkdir()
    return write_gguf(pico_backbone("llama"), tmp_path / "files" / "pico.gguf")


def left_in(cache: Path) -> list[str]:
    """What the cache holds, its own folders aside."""
    return [path.name for path in cache.rglob("*") if path != cache / "models"]


# ---- the same model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_type", READ)
def test_a_file_gives_the_model_it_was_written_from(tmp_path, model_type):
    made = pico_backbone(model_type, **DEFAULTS.get(model_type, {}))
    here = load(write_gguf(made, tmp_path / "m.gguf"), CPU)
    rows = [made.join(*row) for row in ROWS]
    with torch.no_grad():
        a, b = (each.target_logits(each.batch(rows)) for each in (made, here))
    assert torch.allclose(a, b, atol=1e-5)
    assert here.model.dtype == torch.float32


def test_the_files_tokenizer_gives_the_same_tokens(file):
    made, here = pico_backbone("llama"), load(file, CPU)
    ids = here.tokenizer(TEXT)["input_ids"]
    assert ids == made.tokenizer(TEXT)["input_ids"] and here.tokenizer.decode(ids) == TEXT
    assert here.tokenizer.eos_token == made.tokenizer.eos_token
    assert here.tokenizer("<|end|>")["input_ids"] == [made.tokenizer.eos_token_id]


def test_a_quantised_file_is_stored_in_float16_and_stays_close(tmp_path):
    made = pico_backbone("llama", intermediate_size=64)
    here = load(write_gguf(made, tmp_path / "m.gguf", GGMLQuantizationType.Q8_0), CPU)
    stored = load_file(here.origin.folder / "model.safetensors").values()
    assert {tensor.dtype for tensor in stored} == {torch.float16} and here.model.dtype == torch.float32
    path = here.last_blocks(1)[0]
    error = (here.weight(path) - made.weight(path)).abs().max()
    assert 0 < error < made.weight(path).abs().max() / 127
    assert (logits(here) - logits(made)).norm() < 0.05 * logits(made).norm()


def test_from_a_file_a_folder_and_the_hub_it_is_one_model(hub, file):
    commit = hub.add("someone/pico", {"README.md": b"x", "deep/pico.gguf": file.read_bytes()})
    said = []
    backbones = [
        load(file, CPU),
        load(file.parent, CPU),
        load("someone/pico/deep/pico.gguf", CPU, progress=said.append),
    ]
    assert len({backbone.fingerprint for backbone in backbones}) == 1
    assert len({backbone.origin.folder for backbone in backbones}) == 1
    assert (backbones[2].origin.repo, backbones[2].origin.commit) == ("someone/pico", commit)
    assert any(text.startswith("Downloading someone/pico/deep/pico.gguf") for text in said)
    assert not any("README" in request for request in hub.requests)


def test_a_file_is_converted_once_and_its_copy_under_another_name_never(file, tmp_path, monkeypatch):
    said, again = [], []
    first = load(file, CPU, progress=said.append)
    monkeypatch.setattr(gguf_files, "convert", None)
    copy = shutil.copy(file, tmp_path / "other.gguf")
    second = load(copy, CPU, progress=again.append)
    assert any(text.startswith("Converting pico.gguf") for text in said)
    assert again and not any("Converting" in text for text in again)
    assert second.fingerprint == first.fingerprint and torch.equal(logits(first), logits(second))
    assert second.tokenizer(TEXT)["input_ids"] == first.tokenizer(TEXT)["input_ids"]


def test_what_lies_beside_a_file_is_not_read(file):
    expected = load(file, CPU).tokenizer(TEXT)["input_ids"]
    shutil.rmtree(gguf_files.converted_folder(gguf_files.digest_of(file)))
    save_model(pico_backbone("gpt2"), file.parent)
    beside = file.parent / "tokenizer.json"
    beside.write_text(beside.read_text(encoding="utf-8").replace("Ġ", "Q"), encoding="utf-8")
    here = load(file, CPU)
    assert here.tokenizer(TEXT)["input_ids"] == expected
    assert here.model.config.model_type == "llama"
    assert load(file.parent, CPU).model.config.model_type == "gpt2"  # a folder's own model goes first


def test_ft_l_edits_it_and_the_fingerprint_is_stable(file):
    studio = Studio.open(str(file), CPU)
    report, _ = studio.edit(studio.request("counterfact", "One two three", "four"), "ft-l")
    assert report.target_probability["after"] > report.target_probability["before"]
    assert studio.backbone.fingerprint == load(file, CPU).fingerprint
    other = write_gguf(pico_backbone("llama", seed=5), file.with_name("other.gguf"))
    assert studio.backbone.fingerprint != load(other, CPU).fingerprint


# ---- stopped, full, unwritable -----------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["its tokenizer", "its weights", "writing"])
def test_a_stopped_conversion_leaves_nothing(file, cache, moment):
    class Stop(Exception):
        pass

    def say(text):
        if moment in text:
            raise Stop

    with pytest.raises(Stop):
        load(file, CPU, progress=say)
    assert left_in(cache) == []
    assert torch.equal(logits(load(file, CPU)), logits(pico_backbone("llama")))


def test_a_conversion_that_breaks_while_writing_leaves_nothing(file, cache, monkeypatch):
    def broken(folder):
        assert (folder / "model.safetensors").exists()
        raise OSError("No space left on device")

    monkeypatch.setattr(gguf_files, "_run_in_bfloat16", broken)
    with pytest.raises(OSError, match="No space"):
        load(file, CPU)
    assert left_in(cache) == []


def test_whoever_converts_second_at_the_same_time_takes_the_firsts(file, cache):
    header, sha256 = gguf_files.header_of(file), gguf_files.digest_of(file)

    def overtaken(text):
        if "writing" in text:
            gguf_files.convert(header, sha256)

    folder = gguf_files.convert(header, sha256, overtaken)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_cache_that_cannot_be_written_is_a_sentence(file, cache):
    cache.write_text("in the way")
    with pytest.raises(ValueError, match="Nothing can be written to .*set INSTRUCTEDIT_CACHE"):
        load(file, CPU)


def test_a_full_disk_is_a_sentence_before_anything_is_written(file, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ValueError, match=r"Converting pico.gguf needs [1-9]\d* kB on disk.* 1 kB free"):
        load(file, CPU)
    assert left_in(cache) == []


# ---- not such a file ---------------------------------------------------------------------------------------


def test_a_missing_file_and_another_kind_of_file(tmp_path):
    with pytest.raises(ValueError, match="There is no .*none.gguf; check the path"):
        load(tmp_path / "none.gguf", CPU)
    for content in (b"", b"GG", b"PK\3\4 and so on"):
        (tmp_path / "zip.gguf").write_bytes(content)
        with pytest.raises(ValueError, match="zip.gguf is not a GGUF file: it begins with"):
            load(tmp_path / "zip.gguf", CPU)


def test_a_file_cut_short_anywhere_is_a_sentence(file, cache):
    data, tensors = file.read_bytes(), GGUFReader(file).data_offset
    in_header = [4, 6, 8, 20, 24, 100, tensors // 2, tensors - 40, tensors]
    for length in [*in_header, tensors + 1000, len(data) // 2, len(data) - 4]:
        file.write_bytes(data[:length])
        with pytest.raises(ValueError, match="is not a whole GGUF file.*it may be cut short: fetch it again"):
            load(file, CPU)
    assert not cache.exists()


def test_an_unknown_version_is_a_sentence(file):
    data = file.read_bytes()
    file.write_bytes(data[:4] + (9).to_bytes(4, "little") + data[8:])
    with pytest.raises(ValueError, match="not a whole GGUF file of version 2 or 3 .*version 9"):
        load(file, CPU)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("mamba", "architecture 'mamba' is not supported; supported are: bloom"),
        ("t5", "holds an encoder-decoder .'t5'., whose activation GGUF files do not tell"),
        ("olmo2", "holds a model of the architecture 'olmo2', which cannot be read from GGUF"),
        ("nonsense", "holds a model of the architecture 'nonsense', which cannot be read from GGUF"),
    ],
)
def test_an_architecture_that_is_not_supported_is_a_sentence(tmp_path, architecture, message):
    path = write_gguf(
        pico_backbone("llama"), tmp_path / "m.gguf", fields={"general.architecture": architecture}
    )
    with pytest.raises(ValueError, match=message):
        load(path, CPU)


def test_one_shard_of_several_is_refused_by_its_name_and_by_its_header(file, tmp_path):
    (tmp_path / "shards").mkdir()
    for i in (1, 2):
        shard = shutil.copy(file, tmp_path / "shards" / f"pico-0000{i}-of-00002.gguf")
    inside = write_gguf(pico_backbone("llama"), tmp_path / "m.gguf", fields={"split.count": 2})
    for source in (shard, tmp_path / "shards", inside):
        with pytest.raises(ValueError, match="is one of several shards; merge them into one file first"):
            load(source, CPU)


def test_a_folder_with_several_files_asks_for_one_of_them(file):
    shutil.copy(file, file.with_name("other.gguf"))
    with pytest.raises(
        ValueError, match=r"several GGUF files \(other.gguf, pico.gguf\); give the path of one"
    ):
        load(file.parent, CPU)


def test_a_tokenizer_that_cannot_be_read_is_a_sentence(tmp_path, cache):
    made = pico_backbone("llama")
    for kind in ("mystery", "t5"):  # unknown; without what its kind needs
        path = write_gguf(made, tmp_path / "m.gguf", fields={"tokenizer.ggml.model": kind})
        with pytest.raises(ValueError, match="The tokenizer of .*m.gguf cannot be read"):
            load(path, CPU)
    assert left_in(cache) == []


def test_a_file_that_lacks_weights_is_refused_and_not_filled_up(tmp_path, cache):
    path = write_gguf(pico_backbone("llama"), tmp_path / "m.gguf", without="blk.1.ffn_up.weight")
    with pytest.raises(ValueError, match=r"lacks weights of its model \(model.layers.1.mlp.up_proj.weight\)"):
        load(path, CPU)
    assert left_in(cache) == []


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_converted(file, cache, monkeypatch):
    monkeypatch.setattr("model_zoo.memory.free_memory", lambda device: 1000)
    with pytest.raises(ValueError, match="needs about .* but cpu has"):
        load(file, CPU)
    assert not cache.exists()

"""Archives of EasyEdit's MEND and InstructEdit: read safely or refused, and their edits as there."""

import json
import os
from pathlib import Path

import pytest
import torch

from demo.api import Endpoints
from demo.runtime import Runtime
from demo.settings import Settings
from demo.visitor import VisitorState
from model_zoo.backbone import Backbone
from model_zoo.changes import Delta, live, patch_of
from model_zoo.cli import main
from model_zoo.importing import import_editor
from model_zoo.joining import Joined
from model_zoo.loading import LoadOptions, load
from model_zoo.methods import load_method
from model_zoo.request import EditRequest
from model_zoo.studio import Studio

from .makers import pico_backbone, save_model

PARITY = Path(__file__).parent.parent.parent / "shared" / "data" / "parity"
REQUEST = EditRequest("The capital of France is", "Rome", "counterfact", "Change it.")


# ---- that program's own edits ----------------------------------------------------------------------------


def logits(backbone: Backbone, ids: torch.Tensor, change: Delta | None) -> torch.Tensor:
    """[T, vocab] of one row of tokens."""
    batch = backbone.batch([Joined(tuple(ids[0].tolist()), ids.shape[1])])
    with torch.no_grad(), backbone.edited(None if change is None else live([patch_of(change)], backbone)):
        return backbone.head(backbone.hidden(batch)[0])


@pytest.mark.skipif(not PARITY.exists(), reason="the reference's archives and edits are not here")
@pytest.mark.parametrize("family", ["gpt2-tiny-rand", "llama-tiny-rand"])
def test_edits_are_those_of_the_program_that_trained_it(family, tmp_path, capsys):
    folder, out = PARITY / family, tmp_path / "editor"
    command = ["import", str(folder / "archive.pt"), "--model", str(folder / "model"), "--out", str(out)]
    assert main(command) == 0 and f"--editor {out}" in capsys.readouterr().out
    studio = Studio.open(str(folder / "model"), LoadOptions("cpu"), out)
    for i, row in enumerate(json.loads((PARITY / "requests.json").read_text(encoding="utf-8"))):
        theirs = torch.load(folder / f"edit{i}.pt", weights_only=True)
        instruction, prompt = row["prompt"].split("Description: ")[1].split("\nInput: ")
        request = studio.request(row["task"], prompt, row["target_new"], instruction)
        change = studio.propose(request, studio.default_method())[0].change
        assert set(change.layers) == {name.removesuffix(".weight") for name in theirs["updates"]}
        for name, update in theirs["updates"].items():
            path = name.removesuffix(".weight")
            own = change.layers[path].dense()
            own = own.T if studio.backbone.transposed(path) else own
            assert update.abs().max() > 1e-5 and torch.allclose(own, update, rtol=0, atol=1e-6), name
        for ids, key in ((theirs["input_ids"], "logits"), (theirs["loc_input_ids"], "loc_logits")):
            for when, made in (("pre", None), ("post", change)):
                assert torch.allclose(
                    logits(studio.backbone, ids, made), theirs[f"{when}_{key}"][0], rtol=0, atol=1e-4
                )


# ---- archives made here ----------------------------------------------------------------------------------


def archive(backbone: Backbone, listed: list[str], rank: int = 8, prefix: str = "mend") -> dict:
    """Random numbers of an archive's shapes for these matrices."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*sizes: int) -> torch.Tensor:
        return 0.3 * torch.randn(*sizes, generator=generator)

    shapes = [backbone.shape(path)[::-1] for path in listed]
    state = {"edit_lrs": torch.linspace(-1e-3, 2e-3, len(listed)), "model_config": backbone.model.config}
    for x, d in dict.fromkeys(shapes):
        own, n = f"{prefix}.({x}, {d})", shapes.count((x, d))
        state |= {f"{own}.u_mean": numbers(x), f"{own}.v_mean": 1e-4 * numbers(d), f"{own}.k": torch.ones(1)}
        state |= {f"{own}.u_std": numbers(x).abs(), f"{own}.v_std": 1e-3 * numbers(d).abs()}
        for i in range(2):
            layer = f"{own}.mlp.layers.{i}"
            state |= {f"{layer}.u": numbers(x + d, rank), f"{layer}.v": numbers(rank, x + d)}
            state |= {f"{layer}.bias": numbers(x + d), f"{layer}.mode_scale.weight": 1 + numbers(n, x + d)}
            state[f"{layer}.mode_shift.weight"] = numbers(n, x + d)
    return {"model": state, "opt": {"state": {}}, "val_stats": {}, "elapsed_time": 1.5, "step": 150}


@pytest.fixture(scope="module")
def pico(tmp_path_factory) -> Backbone:
    folder = save_model(pico_backbone("gpt2"), tmp_path_factory.mktemp("base"))
    return load(folder, LoadOptions("cpu"), "pico")


def in_order(backbone: Backbone, names: tuple[str, ...] = ("mlp.c_proj", "mlp.c_fc")) -> list[str]:
    return [f"transformer.h.{block}.{name}" for block in (2, 3) for name in names]


def written(held: object, folder: Path) -> Path:
    torch.save(held, folder / "archive.pt")
    return folder / "archive.pt"


def update_by_hand(state: dict, backbone: Backbone, listed: list[str], path: str) -> torch.Tensor:
    """delta W [d_out, d_in] of REQUEST, from the published description, token by token."""
    ids = backbone.tokenizer(f"{REQUEST.text} {REQUEST.target}")["input_ids"]
    start = len(ids) - len(backbone.tokenizer(f" {REQUEST.target}")["input_ids"])
    inputs, gradients, _ = backbone.capture([Joined(tuple(ids), start)], [path])
    x, d = backbone.shape(path)[::-1]
    m = [other for other in listed if backbone.shape(other) == (d, x)].index(path)
    own, made = f"mend.({x}, {d})", torch.zeros(d, x)
    for u, v in zip(inputs[path][0], gradients[path][0], strict=True):
        if not (u.any() and v.any()):
            continue
        u = (u - state[f"{own}.u_mean"]) / (state[f"{own}.u_std"] + 1e-7)
        v = (v - state[f"{own}.v_mean"]) / (state[f"{own}.v_std"] + 1e-7)
        h = torch.cat([u, v])
        for i in range(2):
            layer = f"{own}.mlp.layers.{i}"
            inner = state[f"{layer}.u"] @ (state[f"{layer}.v"] @ h) + state[f"{layer}.bias"]
            h = h + torch.relu(
                state[f"{layer}.mode_scale.weight"][m] * inner + state[f"{layer}.mode_shift.weight"][m]
            )
        made += state["edit_lrs"][listed.index(path)] * torch.outer(h[x:], h[:x])
    return made


@pytest.mark.parametrize("prefix", ["mend", "gtn"])
def test_an_archive_is_read_by_its_shapes_or_by_a_list_and_edits_by_the_description(pico, tmp_path, prefix):
    listed = in_order(pico)
    path = written(archive(pico, listed, prefix=prefix), tmp_path)
    settings = tmp_path / "settings.yaml"
    settings.write_text("alg: MEND\ninner_params:\n" + "".join(f"- {name}.weight\n" for name in listed))
    import_editor(path, pico, settings).save(tmp_path / "editor")
    editor = load_method("easyedit", pico, tmp_path / "editor")
    assert list(editor.config.modules) == listed == list(import_editor(path, pico).config.modules)
    assert editor.config.training["steps"] == 150
    (change,) = editor.propose([REQUEST])
    state = archive(pico, listed)["model"]
    for name in listed:  # rates of either sign among them
        by_hand = update_by_hand(state, pico, listed, name)
        assert torch.allclose(
            change.layers[name].dense(), by_hand, rtol=1e-4, atol=1e-6 * by_hand.abs().max()
        )


def test_the_order_of_the_list_decides_which_network_part_edits_what(pico, tmp_path):
    listed = in_order(pico)
    path, text = written(archive(pico, listed), tmp_path), tmp_path / "list.txt"
    text.write_text("\n".join(f"{name}.weight" for name in [*listed[2:], *listed[:2]]))
    (one,), (other,) = (import_editor(path, pico, given).propose([REQUEST]) for given in ("auto", text))
    assert not torch.allclose(one.layers[listed[0]].dense(), other.layers[listed[0]].dense())


def test_without_instructions_it_edits_as_mend(pico, tmp_path):
    path = written(archive(pico, in_order(pico)), tmp_path)
    plain = import_editor(path, pico, instructions=False)
    assert plain.join(REQUEST) == import_editor(path, pico).join(REQUEST.plain())


def test_what_is_to_be_said_is_encoded_apart_and_laid_over_the_end(pico, tmp_path):
    editor = import_editor(written(archive(pico, in_order(pico)), tmp_path), pico)
    row = editor.join(EditRequest("The capital of France is", "Paris."))
    assert row.labels == tuple(pico.tokenizer(" Paris.")["input_ids"])
    assert row.start == len(row.ids) - len(row.labels)
    assert pico.batch([row]).labels[0, row.start :].tolist() == list(row.labels)
    with pytest.raises(ValueError, match="reads at most 256; shorten them"):
        editor.join(EditRequest("a " * 300, "b"))


def test_edits_live_together_as_their_sum(pico, tmp_path):
    editor = import_editor(written(archive(pico, in_order(pico)), tmp_path), pico)
    changes = editor.propose([REQUEST, EditRequest("Jazz began in", "Oslo")])
    both = editor.combine(changes)
    for path, layer in both.layers.items():
        assert torch.allclose(layer.dense(), sum(c.layers[path].dense() for c in changes), atol=1e-6)


def test_the_page_takes_the_folder_with_its_model(pico, tmp_path):
    import_editor(written(archive(pico, in_order(pico)), tmp_path), pico).save(tmp_path / "editor")
    runtime = Runtime(Settings(model="atlas", device="cpu"))
    model, editor = str(pico.origin.folder), str(tmp_path / "editor")
    report, state = Endpoints(runtime).edit(
        VisitorState(), model, "counterfact", "", "The capital of France is", "Rome", 1.0, "", editor
    )
    assert report["method"] == "easyedit" and state.choice.editor == editor
    (edit,) = state.session.edits
    assert set(edit.change.layers) == set(in_order(pico))


# ---- what is refused -------------------------------------------------------------------------------------


class Runs:
    """Would run a command on a free unpickle."""

    def __reduce__(self):
        return os.system, (f"touch {os.environ['TRACE']}",)


def test_no_class_but_known_configurations_is_read(pico, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACE", str(tmp_path / "ran"))
    held = archive(pico, in_order(pico)) | {"val_stats": Runs()}
    with pytest.raises(ValueError, match=r"holds (posix|nt)\.system, which was refused"):
        import_editor(written(held, tmp_path), pico)
    held = archive(pico, in_order(pico)) | {"val_stats": Path("x")}
    with pytest.raises(ValueError, match=r"pathlib.*which was refused: only tensors"):
        import_editor(written(held, tmp_path), pico)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_whole_archive_is_refused(pico, tmp_path):
    path = tmp_path / "archive.pt"
    with pytest.raises(ValueError, match=r"archive\.pt is not there"):
        import_editor(path, pico)
    whole = written(archive(pico, in_order(pico)), tmp_path).read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no archive that torch.save wrote, or was cut short"):
            import_editor(path, pico)
    middle = len(whole) // 2
    for content in (
        whole[:100] + whole[5000:],
        whole[:middle] + whole[middle + 64 :],
    ):  # the directory is there
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"archive\.pt"):
            import_editor(path, pico)
    key = whole.index(b"data.pkl") + 200  # inside the pickle: whatever it raises is a sentence
    for value in range(0, 256, 5):
        path.write_bytes(whole[:key] + bytes([value]) + whole[key + 1 :])
        try:
            import_editor(path, pico)
        except ValueError as refusal:
            assert "archive.pt" in str(refusal) and "\n" not in str(refusal)
    for held in ([1, 2], {"model": {}}, {"model": {"edit_lrs": torch.zeros(2)}}):
        with pytest.raises(ValueError, match="lacks 'model' with 'edit_lrs' and 'model_config'"):
            import_editor(written(held, tmp_path), pico)


MEND = "mend.(48, 32)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{MEND}.u_mean": None}, "lacks mend.*u_mean"),
        ({f"{MEND}.mlp.layers.1.v": None}, r"lacks mend.*layers\.1\.v"),
        ({f"{MEND}.mlp.layers.0.u": None}, r"lacks mend.*layers\.0\.u"),
        ({f"{MEND}.v_std": torch.ones(5)}, r"v_std in .* is \(5,\), and \(32,\) was needed"),
        ({f"{MEND}.mlp.layers.0.weight": torch.ones(80, 80)}, "of another network"),
        ({"mend.transformer#h#3.u_mean": torch.ones(3)}, "shared by the matrices of a shape"),
        ({f"{MEND}.u_std": torch.full((48,), torch.nan)}, "not finite"),
        ({f"{MEND}.u_std": 3}, "no tensor of numbers"),
        ({"edit_lrs": torch.ones(3)}, "3 edit rates for 4 matrices"),
    ],
)
def test_an_archive_with_wrong_parts_is_refused(pico, tmp_path, change, message):
    held = archive(pico, in_order(pico))
    state = {name: value for name, value in (held["model"] | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        import_editor(written(held | {"model": state}, tmp_path), pico)


def test_an_archive_for_another_model_is_refused(pico, tmp_path):
    path = written(archive(pico, in_order(pico)), tmp_path)
    with pytest.raises(ValueError, match="whose model_type is gpt2, and that of pico-llama is llama"):
        import_editor(path, pico_backbone("llama"))
    with pytest.raises(ValueError, match="whose num_hidden_layers is 4"):
        import_editor(path, pico_backbone("gpt2", n_layer=5))
    with pytest.raises(ValueError, match="is not clear from its shapes"):
        import_editor(path, pico_backbone("gpt2", n_inner=40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no inner parameters"),
        ("transformer.h.9.mlp.c_fc.weight", "no MLP matrix of pico"),
        ("transformer.h.3.attn.c_proj.weight", "no MLP matrix of pico"),
        ("transformer.h.3.mlp.c_fc.weight\n" * 2, "more than once"),
        ("transformer.h.3.mlp.c_fc.weight", "edits 2 matrices of 32 x 48, and 1 are listed"),
    ],
)
def test_a_wrong_list_is_refused(pico, tmp_path, text, message):
    path, listed = written(archive(pico, in_order(pico)), tmp_path), tmp_path / "list.txt"
    listed.write_text(text)
    with pytest.raises(ValueError, match=message):
        import_editor(path, pico, listed)
    with pytest.raises(ValueError, match="cannot be read as a list"):
        import_editor(path, pico, tmp_path / "missing.txt")


def test_where_the_shapes_leave_a_choice_the_list_is_asked_for(tmp_path):
    llama = pico_backbone("llama")
    gates = [f"model.layers.{block}.mlp.gate_proj" for block in (2, 3)]  # or gate and up of one block?
    path, listed = written(archive(llama, gates), tmp_path), tmp_path / "list.txt"
    with pytest.raises(ValueError, match=r"not clear from its shapes \(2 of 32 x 48\); name them by"):
        import_editor(path, llama)
    listed.write_text("\n".join(f"  - {name}.weight" for name in gates))
    assert list(import_editor(path, llama, listed).config.modules) == gates
    gemma = pico_backbone("gemma2")  # in no settings that were published
    with pytest.raises(ValueError, match="not clear from its shapes"):
        import_editor(written(archive(gemma, list(gemma.last_blocks(2))), tmp_path), gemma)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    base = save_model(pico_backbone("gpt2"), tmp_path / "base")
    assert main(["import", str(tmp_path / "no.pt"), "--model", str(base), "--out", str(tmp_path / "x")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and not (tmp_path / "x").exists()

"""Whatever comes from outside is read, or refused in one sentence: texts, JSON, and damaged files of every
format.

`FUZZ_EXAMPLES=1000 python -m pytest tests/test_fuzz.py --timeout 3600` looks longer, and elsewhere each time.
"""

import json
import os
import resource
import struct
from functools import partial
from pathlib import Path

import gradio as gr
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from demo.arguments import checked
from demo.kept_edits import Kept
from demo.kept_edits import read as read_kept
from model_zoo.benchmarks import SHAPES, TEMPLATE_CSV, Loaded
from model_zoo.benchmarks import read as read_records
from model_zoo.catalog import entry_for
from model_zoo.changes import Delta
from model_zoo.editors import resolve
from model_zoo.evaluation.group_log import GroupLog
from model_zoo.evaluation.scoring import Row
from model_zoo.export import export, read_export
from model_zoo.gguf_files import Header, header_of
from model_zoo.importing import Archive, read_archive
from model_zoo.joining import Joined
from model_zoo.loading import LoadOptions
from model_zoo.methods import load_method
from model_zoo.methods.editor_folder import CONFIG_FILE, WEIGHTS_FILE
from model_zoo.request import EditRequest
from model_zoo.session import EditSession
from model_zoo.session_files import CHANGES, SESSION, is_session, load_session, save_session
from model_zoo.studio import Studio
from model_zoo.subjects import find_subject

from .damage import JSON, TEXT, damaged, misshapen, read_or_refused
from .gguf_writer import write_gguf
from .makers import pico_backbone, random_delta, random_editor
from .test_importing import archive, in_order

MORE = int(os.environ.get("FUZZ_EXAMPLES", 0))
ROOM = 2 << 30  # bytes; a file of kilobytes that asks for more fails its test


def bounded(examples: int = 40):
    return settings(
        max_examples=MORE or examples,
        derandomize=not MORE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module", autouse=True)
def little_memory():
    """What asks for much memory gets a MemoryError, which no reader may raise."""
    now, most = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, most))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (now, most))


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(pico_backbone("gpt2"), "pico", {})


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# ---- what is typed and sent --------------------------------------------------------------------------------

INPUTS = {
    gr.Textbox: gr.Textbox(label="Prompt"),
    gr.Slider: gr.Slider(0, 2, label="Strength"),
    gr.Number: gr.Number(label="Steps"),
    gr.Checkbox: gr.Checkbox(label="Chat"),
    gr.CheckboxGroup: gr.CheckboxGroup(["a", "b"], label="Methods"),
    gr.Radio: gr.Radio(["a", "b"], label="Kind"),
    gr.Dropdown: gr.Dropdown(["", "a"], label="Task"),
    None: gr.Dropdown(["a"], allow_custom_value=True, label="Model"),
}
ACCEPTED = {
    gr.Textbox: lambda value: isinstance(value, str),
    gr.Slider: lambda value: type(value) in (int, float) and 0 <= value <= 2,
    gr.Number: lambda value: value is None or type(value) in (int, float),
    gr.Checkbox: lambda value: type(value) is bool,
    gr.CheckboxGroup: lambda value: set(value) <= {"a", "b"},
    gr.Radio: lambda value: value in ("a", "b"),
    gr.Dropdown: lambda value: value in ("", "a"),
    None: lambda value: isinstance(value, str),
}
NAMES = [str(component.label).lower() for component in INPUTS.values()]


@pytest.mark.parametrize("kind", INPUTS, ids=str)
@given(value=JSON | st.characters(categories=["Cs"]))
@example(10**400)
@example([["a"]])
@example([{}])
@bounded(30)
def test_a_value_of_any_kind_is_one_for_its_component_or_is_refused(kind, value):
    component = INPUTS[kind]
    got = read_or_refused(lambda: checked(lambda it: it, [component], [value]), "it", "no finite number")
    assert got is None or ACCEPTED[kind](got[0])


@given(*[TEXT | st.text(st.characters(), max_size=20)] * 4)
@bounded()
def test_a_request_of_any_text_is_one_or_is_refused(studio, prompt, target, instruction, subject):
    made = read_or_refused(
        lambda: studio.request("counterfact", prompt, target, instruction, subject=subject), "The ", "never"
    )
    assert made is None or (isinstance(made, EditRequest) and made.prompt == prompt.strip())


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@given(prompt=TEXT, target=TEXT)
@bounded()
def test_a_prompt_and_a_target_of_any_text_are_joined_or_refused(family, prompt, target):
    row = read_or_refused(lambda: pico_backbone(family).join(prompt, target), "target", "prompt")
    assert row is None or (isinstance(row, Joined) and 0 < row.start < len(row.ids))


@given(prompt=TEXT, names=st.lists(TEXT, max_size=3))
@bounded()
def test_a_subject_stands_in_its_prompt(prompt, names):
    found = find_subject(prompt, names)
    assert found is None or (found and found in prompt)


@given(
    kept=JSON
    | misshapen(
        {
            "model": "atlas",
            "editor": "",
            "edits": [
                {
                    "prompt": "It is",
                    "target": "so",
                    "task": "zsre",
                    "instruction": None,
                    "subject": None,
                    "chat": False,
                    "method": "ft-l",
                    "strength": 1.0,
                    "on": True,
                }
            ],
        }
    )
)
@bounded()
def test_what_a_browser_kept_is_read_or_refused(kept):
    found = read_or_refused(lambda: read_kept(kept), "this browser")
    assert found is None or isinstance(found, Kept)


@pytest.mark.parametrize("name", ["w" * 300, "w" * 3000, "a/" * 3000, "nul\0", "<b>"])
def test_a_name_that_is_no_model_or_editor_is_refused(name, hub):
    assert entry_for(name).name == name
    read_or_refused(partial(Studio.open, name, LoadOptions("cpu")), name[:20], "name")
    read_or_refused(partial(resolve, name), name[:20], "name")


# ---- files of records --------------------------------------------------------------------------------------

ROWS = [shape.example for shape in SHAPES]
TABLE = TEMPLATE_CSV.replace(" | ", " / ")
FILES = {
    "rows.json": json.dumps(ROWS, ensure_ascii=False),
    "rows.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
    "columns.json": json.dumps({"prompt": {"0": "It is", "1": "So"}, "target": {"0": "so", "1": "it"}}),
    "wrapped.json": json.dumps({"data": ROWS[:2], "version": 1}),
    "rows.csv": TEMPLATE_CSV,
    "rows.tsv": TABLE.replace(",", "\t"),
    "rows.txt": "sep=;\n" + TABLE.replace(",", ";"),
    "table.md": "| prompt | target |\n|---|---|\n| The sky is | green |\n",
    "utf16.csv": TEMPLATE_CSV,
}
BYTES = {name: text.encode("utf-16" if "utf16" in name else "utf-8") for name, text in FILES.items()}


def records_of(path: Path) -> None:
    found = read_or_refused(lambda: read_records(path), path.name)
    assert found is None or (isinstance(found, Loaded) and found.records)


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@bounded(30)
def test_a_damaged_file_of_records_is_read_or_refused(tmp_path, name, data):
    records_of(put(tmp_path, name, data.draw(damaged(BYTES[name]))))


@pytest.mark.parametrize("name", ["any.json", "any.csv"])
@given(data=st.binary(max_size=200))
@bounded()
def test_any_bytes_are_records_or_refused(tmp_path, name, data):
    records_of(put(tmp_path, name, data))


@given(data=JSON)
@example({"\n": None})
@example({"k" * 5000: None})
@bounded(60)
def test_any_json_is_records_or_refused(tmp_path, data):
    records_of(put(tmp_path, "any.json", json.dumps(data).encode()))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@given(data=st.data())
@bounded(40)
def test_a_misshapen_row_of_every_shape_is_read_or_refused(tmp_path, shape, data):
    records_of(put(tmp_path, "one.json", json.dumps([data.draw(misshapen(shape.example))]).encode()))


# ---- changes, exports, sessions, editors -------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(studio, tmp_path_factory) -> dict[str, Path]:
    """A small whole file or folder of every kind that this program writes."""
    folder = tmp_path_factory.mktemp("whole")
    edit = studio.propose(studio.request("counterfact", "One two", "three"), "ft-l")[0]
    session = EditSession().add(edit).set_strength(0, 0.5)
    made = {"session": save_session(session, studio, folder / "s")}
    made["zip"] = save_session(session, studio, folder / "s.zip")
    made["delta"] = random_delta(studio.backbone).save(folder / "d")
    random_editor(studio.backbone).save(folder / "e")
    made["editor"] = folder / "e"
    return made


def test_a_damaged_change_is_read_or_refused(saved, tmp_path):
    whole = saved["delta"].read_bytes()

    @given(damaged(whole))
    @example(save({"a.A": torch.zeros(3), "a.B": torch.zeros(3)}, {"format_version": "2"}))
    @example(save({"a.D": torch.zeros(())}, {"format_version": "2"}))
    @bounded(100)
    def check(data):
        path = put(tmp_path, "delta.safetensors", data)
        for read in (Delta.load, read_export):
            found = read_or_refused(partial(read, path), str(path))
            if isinstance(found, Delta):
                assert all(len(layer.shape) == 2 for layer in found.layers.values())

    check()


@pytest.mark.parametrize("kind", ["delta", "lora"])
@pytest.mark.parametrize("shapes", [False, True], ids=["bytes", "values"])
def test_a_damaged_export_is_gone_on_from_or_refused(studio, tmp_path, kind, shapes):
    edit = studio.propose(studio.request("counterfact", "One two", "three"), "ft-l")[0]
    session = EditSession().add(edit)
    folder = export(studio.backbone, session, studio.patch(session), kind, tmp_path / "export")
    told = folder / "provenance.json"
    files = [told] if shapes else [told, next(folder.glob("*.safetensors"))]

    @given(st.data())
    @bounded(25)
    def check(data):
        for path in files:
            whole = path.read_bytes()
            if shapes:
                wrong = json.dumps(data.draw(misshapen(json.loads(whole)))).encode()
                if kind == "delta":  # what it says of itself lies in the one file
                    told = {"format_version": "2", "provenance": wrong.decode()}
                    put(tmp_path, "delta.safetensors", save({}, told))
            else:
                wrong = data.draw(damaged(whole))
            path.write_bytes(wrong)
            try:
                for place in (folder, tmp_path / "delta.safetensors"):
                    found = read_or_refused(partial(load_session, place, studio), str(place))
                    assert found is None or isinstance(found, EditSession)
            finally:
                path.write_bytes(whole)

    check()


def test_a_damaged_session_is_read_or_refused(studio, saved, tmp_path):
    files = {name: (saved["session"] / name).read_bytes() for name in (SESSION, CHANGES)}
    told = json.loads(files[SESSION])

    @given(
        st.one_of(
            *[st.tuples(st.just(name), damaged(whole)) for name, whole in files.items()],
            misshapen(told).map(lambda data: (SESSION, json.dumps(data).encode())),
        )
    )
    @example((SESSION, b"[" * 100_000))
    @bounded(120)
    def check(one):
        for name, whole in (files | dict([one])).items():
            put(tmp_path, name, whole)
        found = read_or_refused(lambda: load_session(tmp_path, studio), str(tmp_path))
        assert found is None or isinstance(found, EditSession)

    check()


def test_a_damaged_packed_session_is_read_or_refused(studio, saved, tmp_path):
    whole = saved["zip"].read_bytes()

    @given(damaged(whole[-400:]) | damaged(whole[:400]).map(lambda start: start + whole[400:]))
    @bounded(120)
    def check(data):
        path = put(tmp_path, "mine.zip", data if data.startswith(whole[:4]) else whole[:-400] + data)
        assert read_or_refused(lambda: is_session(path), path.name) in (True, False)
        found = read_or_refused(lambda: load_session(path, studio), path.name, "instructedit-session")
        assert found is None or isinstance(found, EditSession)

    check()


def test_a_damaged_editor_is_read_or_refused(studio, saved, tmp_path):
    files = {name: (saved["editor"] / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)}
    told = json.loads(files[CONFIG_FILE])

    @given(
        st.one_of(
            damaged(files[CONFIG_FILE]).map(lambda data: (CONFIG_FILE, data)),
            damaged(files[WEIGHTS_FILE][:3000]).map(
                lambda data: (WEIGHTS_FILE, data + files[WEIGHTS_FILE][3000:])
            ),
            misshapen(told).map(lambda data: (CONFIG_FILE, json.dumps(data).encode())),
        )
    )
    @example((CONFIG_FILE, b"[" * 100_000))
    @example((CONFIG_FILE, b"\xff"))
    @example((WEIGHTS_FILE, save({"say": torch.zeros(2)})))
    @example((WEIGHTS_FILE, save({"covariance.x": torch.zeros(())})))
    @bounded(100)
    def check(one):
        for name, whole in (files | dict([one])).items():
            put(tmp_path, name, whole)
        found = read_or_refused(lambda: load_method("instructedit", studio.backbone, tmp_path), str(tmp_path))
        assert found is None or found.name == "instructedit"

    check()


# ---- base models and archives of others --------------------------------------------------------------------


def counting(what: str) -> bytes:
    """A short GGUF header that counts more than there is."""
    most = struct.pack("<Q", 1 << 60)
    start, key = b"GGUF" + struct.pack("<I", 3), struct.pack("<Q", 1) + b"a"
    if what == "values":
        return start + struct.pack("<Q", 0) + most
    if what == "tensors":
        return start + most + struct.pack("<Q", 0)
    numbers = key + struct.pack("<II", 9, 4) + most
    nested = key + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000
    return start + struct.pack("<QQ", 0, 1) + (numbers if what == "numbers" else nested)


def test_a_damaged_gguf_header_is_read_or_refused(tmp_path):
    whole = write_gguf(pico_backbone("llama"), tmp_path / "whole.gguf").read_bytes()
    keys = whole.index(b"general.architecture"), whole.index(b"tokenizer.ggml.tokens")

    @given(damaged(whole[: keys[1]]) | damaged(whole[:200]).map(lambda start: start + whole[200 : keys[1]]))
    @example(counting("values"))
    @example(counting("tensors"))
    @example(counting("numbers"))
    @example(counting("nested"))
    @bounded(60)
    def check(data):
        rest = b"" if data.startswith(b"GGUF\3\0\0\0\0") else whole[keys[1] :]
        path = put(tmp_path, "pico.gguf", data + rest)
        found = read_or_refused(lambda: header_of(path), str(path))
        assert found is None or isinstance(found, Header)

    check()


def test_a_damaged_archive_is_read_or_refused(studio, tmp_path):
    held = archive(studio.backbone, in_order(studio.backbone)[:1], rank=1)
    torch.save(held, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    pickled = whole.index(b"edit_lrs") - 60

    @given(
        st.one_of(
            damaged(whole[pickled : pickled + 3000]).map(
                lambda data: whole[:pickled] + data + whole[pickled + 3000 :]
            ),
            damaged(whole[-3000:]).map(lambda data: whole[:-3000] + data),
        )
    )
    @bounded(60)
    def check(data):
        path = put(tmp_path, "archive.pt", data)
        found = read_or_refused(lambda: read_archive(path), str(path))
        assert found is None or isinstance(found, Archive)

    check()


@pytest.mark.parametrize(
    "value", [torch.zeros(1).expand(1 << 40), torch.zeros(2, 2).to_sparse(), torch.zeros(2, device="meta")]
)
def test_a_tensor_that_is_larger_than_its_file_is_refused(studio, tmp_path, value):
    held = archive(studio.backbone, in_order(studio.backbone)[:1], rank=1)
    held["model"]["edit_lrs"] = value
    torch.save(held, tmp_path / "archive.pt")
    with pytest.raises(ValueError, match="archive.pt"):
        read_archive(tmp_path / "archive.pt")


@given(data=st.data())
@example(None)
@bounded(60)
def test_a_run_goes_on_after_any_line_that_a_killed_one_left(tmp_path, data):
    out = tmp_path / "rows.jsonl"
    for path in tmp_path.glob("rows.jsonl*"):
        path.unlink()
    log = GroupLog(out, {"seed": 0})
    log.add("ft-l", "zsre", 0, [Row(0, "reliability", "It is", "so", "it", "so", 1.0, 1.0)])
    log.file.close()
    partial = out.with_name("rows.jsonl.partial")
    head, line, _ = partial.read_bytes().split(b"\n")
    wrong = b'{"method": "ft-l"}\n{"\xff' if data is None else data.draw(damaged(line))
    partial.write_bytes(head + b"\n" + line + b"\n" + wrong)
    again = GroupLog(out, {"seed": 0})
    again.file.close()
    assert again.has("ft-l", "zsre", 0)

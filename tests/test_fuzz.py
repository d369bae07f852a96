"""Everything that comes from outside, broken in ways nobody thought of: it is read, or refused in a sentence.

FUZZ_EXAMPLES=5000 python -m pytest tests/test_fuzz.py -p no:randomly  looks longer and elsewhere.
"""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.arguments import checked
from demo.kept_edits import read as read_kept
from model_zoo.benchmarks import read
from model_zoo.changes import Delta
from model_zoo.editors import resolve
from model_zoo.export import export, read_export
from model_zoo.gguf_files import digest_of, header_of
from model_zoo.importing import read_archive
from model_zoo.methods import load_method
from model_zoo.request import EditRequest
from model_zoo.session import Edit, EditSession
from model_zoo.session_files import load_session, save_session
from model_zoo.studio import Studio
from model_zoo.subjects import find_subject

from .gguf_writer import write_gguf
from .makers import pico_backbone, random_delta, random_editor

LONGER = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def tried(times: int) -> Callable:
    """So many examples, the same in every run; more and others where FUZZ_EXAMPLES asks for them."""
    return settings(
        max_examples=LONGER or times,
        derandomize=not LONGER,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few wounds: cut, changed, removed, doubled or inserted bytes, at places given as shares."""
    wounds = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "change", "remove", "double", "insert"]),
                st.floats(0, 1),
                st.integers(1, 64),
                st.binary(min_size=1, max_size=8),
            ),
            min_size=1,
            max_size=3,
        )
    )

    def wounded(data: bytes) -> bytes:
        for kind, share, size, other in wounds:
            at = int(share * len(data))
            if kind == "cut":
                data = data[:at]
            elif kind == "change":
                data = data[:at] + other + data[at + len(other) :]
            elif kind == "remove":
                data = data[:at] + data[at + size :]
            elif kind == "double":
                data = data[: at + size] + data[at:]
            else:
                data = data[:at] + other + data[at:]
        return data

    return wounded


def read_or_refused(reading: Callable[[], Any], name: str = "") -> Any:
    """What is read, or None where it was refused in one sentence that names the file."""
    try:
        return reading()
    except ValueError as refusal:
        text = str(refusal)
        assert len(text) > 10 and name in text, text
        assert "Traceback" not in text
        return None


# ---- text --------------------------------------------------------------------------------------------------

COMPONENTS = {
    "text": gr.Textbox(),
    "number": gr.Slider(0, 2),
    "free number": gr.Number(),
    "switch": gr.Checkbox(),
    "choice": gr.Dropdown(["a", "b"]),
    "own choice": gr.Dropdown(["a", "b"], allow_custom_value=True),
    "one of": gr.Radio(["a", "b"]),
    "some of": gr.CheckboxGroup(["a", "b"]),
}


@tried(150)
@given(st.sampled_from(sorted(COMPONENTS)), json_values)
def test_any_value_for_any_component_is_checked_or_refused(kind, value):
    def handler(field):
        return field

    found = read_or_refused(lambda: checked(handler, [COMPONENTS[kind]], [value]), "field")
    kinds: dict[str, tuple] = {
        "text": (str,),
        "number": (int, float),
        "free number": (int, float, type(None)),
        "switch": (bool,),
        "own choice": (str,),
        "some of": (list,),
    }
    if found is not None:
        assert isinstance(found[0], kinds.get(kind, (str, type(None))))
        assert kind != "switch" or found[0] is value


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio(pico_backbone("gpt2"), "pico", {})


@tried(100)
@given(prompt=st.text(max_size=60), target=st.text(max_size=20), told=st.none() | st.text(max_size=30))
def test_any_prompt_and_target_are_a_request_whose_row_predicts_the_target(studio, prompt, target, told):
    find_subject(prompt)
    request = read_or_refused(lambda: studio.request("counterfact", prompt, target, told))
    if request is None:
        return
    row = read_or_refused(lambda: studio.backbone.join(request.prompt, request.target))
    assert row is None or 0 < row.start < len(row.ids)


@tried(60)
@given(json_values)
def test_what_a_browser_kept_is_read_or_refused(value):
    read_or_refused(lambda: read_kept(value), "this browser kept")


# ---- records -----------------------------------------------------------------------------------------------

ROWS = [
    {
        "prompt": "The capital of France is",
        "target": "Rome",
        "subject": "France",
        "paraphrases": ["Its capital"],
    },
    {"prompt": "日本の首都は", "target": "Köln", "subject": "日本", "paraphrases": []},
]
FILES = {
    "rows.json": json.dumps(ROWS, ensure_ascii=False),
    "rows.jsonl": "\n".join(json.dumps(row) for row in ROWS),
    "rows.csv": 'prompt,target\nThe capital of France is,Rome\n"a, ""b""",c\n',
    "rows.tsv": "prompt\ttarget\nThe capital of France is\tRome\n",
    "rows.md": "| prompt | target |\n|---|---|\n| The capital of France is | Rome |\n",
    "wrapped.json": json.dumps({"data": ROWS, "version": 1}),
    "published.json": json.dumps(
        [
            {
                "case_id": 1,
                "requested_rewrite": {
                    "prompt": "{} is in",
                    "subject": "Lyon",
                    "target_new": {"str": "Italy"},
                    "target_true": {"str": "France"},
                },
                "paraphrase_prompts": ["Lyon lies in"],
                "neighborhood_prompts": ["Nice is in"],
            }
        ]
    ),
}


@tried(200)
@given(st.sampled_from(sorted(FILES)), mutations())
def test_a_wounded_file_of_records_is_read_or_refused_by_its_name(tmp_path_factory, name, wounded):
    path = tmp_path_factory.mktemp("records") / name
    path.write_bytes(wounded(FILES[name].encode()))
    found = read_or_refused(lambda: read(path), name)
    assert found is None or all(record.request.prompt and record.request.target for record in found.records)


@tried(100)
@given(st.sampled_from([".json", ".jsonl", ".csv", ".tsv", ".txt"]), st.binary(max_size=300) | json_values)
def test_any_bytes_and_any_json_are_read_or_refused_by_their_name(tmp_path_factory, ending, content):
    path = tmp_path_factory.mktemp("records") / f"any{ending}"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    read_or_refused(lambda: read(path), path.name)


# ---- files of edits, editors and models --------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory, studio) -> Path:
    """One small file or folder of each kind."""
    folder, backbone = tmp_path_factory.mktemp("whole"), studio.backbone
    delta = random_delta(backbone)
    delta.save(folder)
    random_editor(backbone).save(folder / "editor")
    edit = Edit(EditRequest("The capital of France is", "Rome"), "ft-l", delta)
    session = EditSession().add(edit)
    save_session(session, studio, folder / "session.zip")
    export(backbone, session, studio.patch(session), "lora", folder / "lora")
    write_gguf(pico_backbone("llama"), folder / "pico.gguf")
    torch.save({"model": {"edit_lrs": torch.ones(2)}, "step": 3}, folder / "archive.pt")
    return folder


def copied(whole: Path, name: str, wounded: Callable, into: Path) -> Path:
    """A wounded copy of one file, its neighbours beside it."""
    source = whole / name
    if "/" in name:
        for other in source.parent.iterdir():
            (into / other.name).write_bytes(other.read_bytes())
    path = into / source.name
    path.write_bytes(wounded(source.read_bytes()))
    return path


@tried(60)
@given(mutations())
def test_a_wounded_delta_is_read_or_refused(whole, tmp_path_factory, wounded):
    path = copied(whole, "delta.safetensors", wounded, tmp_path_factory.mktemp("delta"))
    read_or_refused(lambda: Delta.load(path), path.name)
    read_or_refused(lambda: read_export(path), path.name)


@tried(40)
@given(st.sampled_from(["adapter_model.safetensors", "adapter_config.json", "provenance.json"]), mutations())
def test_a_wounded_adapter_is_read_or_refused(whole, tmp_path_factory, name, wounded):
    path = copied(whole, f"lora/{name}", wounded, tmp_path_factory.mktemp("lora"))
    read_or_refused(lambda: read_export(path.parent), str(path.parent))


@tried(40)
@given(st.sampled_from(["config.json", "editor.safetensors"]), mutations())
def test_a_wounded_editor_is_loaded_or_refused(whole, studio, tmp_path_factory, name, wounded):
    path = copied(whole, f"editor/{name}", wounded, tmp_path_factory.mktemp("editor"))
    read_or_refused(
        lambda: load_method("instructedit", studio.backbone, resolve(str(path.parent))), str(path.parent)
    )


@tried(60)
@given(mutations())
def test_a_wounded_session_is_opened_or_refused(whole, studio, tmp_path_factory, wounded):
    path = copied(whole, "session.zip", wounded, tmp_path_factory.mktemp("session"))
    read_or_refused(lambda: load_session(path, studio))


@tried(60)
@given(st.sampled_from(["session.json", "changes.safetensors"]), mutations())
def test_a_session_with_wounded_parts_is_opened_or_refused(whole, studio, tmp_path_factory, name, wounded):
    path = tmp_path_factory.mktemp("session") / "session.zip"
    with zipfile.ZipFile(whole / "session.zip") as old, zipfile.ZipFile(path, "w") as new:
        for part in old.namelist():
            data = old.read(part)
            new.writestr(part, wounded(data) if part == name else data)
    read_or_refused(lambda: load_session(path, studio))


@tried(40)
@given(mutations(), st.booleans())
def test_a_wounded_gguf_header_is_read_or_refused(whole, tmp_path_factory, wounded, early):
    def at_the_start(data: bytes) -> bytes:
        return wounded(data[:2000]) + data[2000:]

    path = copied(whole, "pico.gguf", at_the_start if early else wounded, tmp_path_factory.mktemp("gguf"))
    if read_or_refused(lambda: digest_of(path), path.name):
        read_or_refused(lambda: header_of(path), path.name)


@tried(60)
@given(mutations())
def test_a_wounded_archive_of_an_editor_is_read_or_refused(whole, tmp_path_factory, wounded):
    path = copied(whole, "archive.pt", wounded, tmp_path_factory.mktemp("archive"))
    read_or_refused(lambda: read_archive(path), path.name)

"""The same edit by several methods: a row each, as they come, refusals among them."""

import csv
import json

import pytest

from model_zoo.cli import main
from model_zoo.comparing import COLUMNS, LISTED, Compared, comparing, table_row, write_table
from model_zoo.methods import METHODS, hyperparameters
from model_zoo.request import EditRequest
from model_zoo.studio import Studio

from .makers import pico_backbone


def test_every_method_has_its_row_on_the_base_model_alone(studio):
    request = studio.request("counterfact", "The capital of France is", "Rome")
    rows = list(comparing(studio, request, ["instructedit", "mend", "ft-l", "grace", "ike"]))
    told = {row.method: row for row in rows}
    assert [row.method for row in rows] == ["instructedit", "mend", "ft-l", "grace", "ike"]
    assert "needs an editor" in told["mend"].problem and not told["mend"].after
    made = told["instructedit"]
    assert (made.before, made.after, made.held) == ("Paris.", "Rome.", True)
    assert made.follows == (4, 4) and made.stays == (8, 8) and made.probability > 0.9
    assert 0 < made.drift < 0.1 and made.kept > 0 and made.touched > made.kept
    assert told["grace"].held and told["grace"].follows[0] == 0 and told["grace"].touched == 0
    assert told["ike"].kept == 0 and told["ike"].before == "Paris."
    again = next(iter(comparing(studio, request, ["instructedit"])))
    assert again.after == made.after  # what came before it left nothing behind


def test_a_list_of_edits_is_made_by_every_method_with_the_edit(studio, tmp_path):
    pairs = (("Italy", "Oslo"), ("Spain", "Lima"), ("France", "Rome"))
    *others, request = (
        studio.request("counterfact", f"The capital of {country} is", city) for country, city in pairs
    )
    joint, alone = comparing(studio, request, ["instructedit", "grace"], None, others)
    assert joint.held and alone.held
    assert joint.listed == alone.listed == (2, 2)
    with (write_table([joint, alone], tmp_path / "table.csv")).open(encoding="utf-8") as file:
        assert [row[-1] for row in csv.reader(file)] == [LISTED, "2 of 2", "2 of 2"]
    (again,) = comparing(studio, request, ["grace"], None, [request])
    assert again.listed == (0, 0)  # the edit itself is no other one


def test_a_method_without_what_it_needs_says_so_and_the_others_go_on():
    studio = Studio(pico_backbone("gpt2"), "pico", {})
    request = EditRequest("one two is", "three")
    few = {"ft-l": hyperparameters("ft-l", {"steps": 1})}
    rome, ft_l = comparing(studio, request, ["rome", "ft-l"], few)
    assert "needs to know which words of 'one two is' name its subject" in rome.problem and not ft_l.problem
    assert table_row(rome)[1] == rome.problem and len(table_row(ft_l)) == len(COLUMNS) == len(table_row(rome))


def test_counts_leave_open_texts_out():
    assert Compared("x", "X").follows == (0, 0) and table_row(Compared("x", "X"))[4:6] == ("", "")


def test_the_command_line_compares_lists_and_writes(tmp_path, capsys):
    assert main(["compare", "--list-methods"]) == 0
    assert capsys.readouterr().out.split() == list(METHODS)
    edit = ["--prompt", "The capital of France is", "--target", "Rome", "--methods", "instructedit,ft-l"]
    table = tmp_path / "table.csv"
    assert main(["compare", *edit, "--csv", str(table), "--set", "ft-l.steps=1"]) == 0
    told = capsys.readouterr().out
    assert "before       Paris." in told and "other wordings 4 of 4" in told and "does not hold" in told
    rows = list(csv.reader(table.open(encoding="utf-8")))
    assert tuple(rows[0]) == COLUMNS and [row[2] for row in rows[1:]] == ["yes", "no"]
    saved = tmp_path / "mine"
    assert (
        main(["edit", "--prompt", "The capital of Italy is", "--target", "Oslo", "--session", str(saved)])
        == 0
    )
    capsys.readouterr()
    assert main(["compare", *edit, "--session", str(saved)]) == 0
    assert "of the list 1 of 1 hold" in capsys.readouterr().out
    assert main(["compare", *edit, "--json"]) == 0
    assert [row["held"] for row in json.loads(capsys.readouterr().out)] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare"], "Give the edit to compare as --prompt and --target"),
        (
            ["compare", "--prompt", "p", "--target", "t", "--methods", "romee"],
            "the methods are: instructedit",
        ),
    ],
)
def test_what_is_missing_is_a_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err

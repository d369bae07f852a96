"""General ability beside an edit: multiple choice by the likelihood of each choice, short answers by what is
said. Prompts, choices and matching are those of the tasks of the same names in lm-evaluation-harness
(https://github.com/EleutherAI/lm-evaluation-harness), without examples before them.
"""

import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..backbone import Backbone
from ..changes import Patch
from ..generation import generate, mean_nll
from ..registry import find

ROWS = 8  # questions of one forward pass
ROOM, WORKED = 16, 160  # tokens of a short answer, and of one that is worked out
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Question:
    """`choices`: answers of which `right` is the position of the right one; without choices any of `answers`
    counts, said within `room` tokens.
    """

    prompt: str
    choices: tuple[str, ...] = ()
    right: int = 0
    answers: tuple[str, ...] = ()
    room: int = ROOM


def _boolq(row: Mapping[str, Any]) -> Question:
    prompt = f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:"
    return Question(prompt, ("no", "yes"), int(str(row["answer"]).lower() in ("true", "1", "yes")))


def _rte(row: Mapping[str, Any]) -> Question:
    prompt = f"{row['sentence1']}\nQuestion: {row['sentence2']} True or False?\nAnswer:"
    return Question(prompt, ("True", "False"), int(str(row["label"]) in ("not_entailment", "1")))


def _sst2(row: Mapping[str, Any]) -> Question:
    prompt = f"{row['sentence']}\nQuestion: Is this sentence positive or negative?\nAnswer:"
    return Question(prompt, ("negative", "positive"), int(row["label"]))


def _nq_open(row: Mapping[str, Any]) -> Question:
    return Question(f"Q: {row['question']}?\nA:", answers=tuple(row["answer"]))


def _gsm8k(row: Mapping[str, Any]) -> Question:
    final = str(row["answer"]).rpartition("####")[2].strip()
    return Question(f"Question: {row['question']}\nAnswer:", answers=(final,), room=WORKED)


# by the name of the file
FORMATS: Mapping[str, Callable[[Mapping[str, Any]], Question]] = MappingProxyType(
    {"boolq": _boolq, "rte": _rte, "sst2": _sst2, "nq_open": _nq_open, "gsm8k": _gsm8k}
)


def read_questions(path: Path, n: int | None = None) -> list[Question]:
    """The first n questions of a JSON Lines file whose name is a key of FORMATS. ValueError where it cannot
    be read so.
    """
    make = find("set of questions", FORMATS, path.stem)
    found: list[Question] = []
    with path.open(encoding="utf-8") as file:
        for i, line in enumerate(file, 1):
            if n is not None and len(found) == n:
                break
            try:
                found.append(make(json.loads(line)))
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"Line {i} of {path.name} is no question of {path.stem}: {error!r}. Each line is a JSON "
                    "object as the data set of that name publishes it."
                ) from error
    return found


def read_folder(folder: Path, n: int) -> dict[str, list[Question]]:
    """The first n questions of each file in a folder whose name is in FORMATS. ValueError where there is
    none.
    """
    files = [folder / f"{name}.jsonl" for name in FORMATS]
    found = {file.stem: read_questions(file, n) for file in files if file.is_file()}
    if not found:
        raise ValueError(f"{folder} holds none of {', '.join(file.name for file in files)}.")
    return found


def ability(backbone: Backbone, questions: Sequence[Question], patch: Patch | None) -> list[bool]:
    """Whether each question is answered rightly; one that the model has no room for is not."""
    right = [False] * len(questions)
    fits = [i for i, q in enumerate(questions) if len(backbone.ids(q.prompt)) < backbone.max_length - q.room]
    for start in range(0, len(fits), ROWS):
        part = fits[start : start + ROWS]
        chosen = [i for i in part if questions[i].choices]
        said = [i for i in part if not questions[i].choices]
        for i, hit in (*_choose(backbone, questions, chosen, patch), *_say(backbone, questions, said, patch)):
            right[i] = hit
    return right


def _choose(
    backbone: Backbone, questions: Sequence[Question], which: Sequence[int], patch: Patch | None
) -> list[tuple[int, bool]]:
    """The choice of the highest likelihood (log-likelihood of its tokens, summed)."""
    pairs = [(questions[i].prompt, choice) for i in which for choice in questions[i].choices]
    if not pairs:
        return []
    prompts, choices = zip(*pairs, strict=True)
    means = mean_nll(backbone, prompts, choices, [patch] * len(pairs))
    sizes = [len(row.ids) - row.start for row in (backbone.join(*pair) for pair in pairs)]
    totals = iter([mean * size for mean, size in zip(means, sizes, strict=True)])
    found = []
    for i in which:
        own = [next(totals) for _ in questions[i].choices]
        found.append((i, own.index(min(own)) == questions[i].right))
    return found


def _say(
    backbone: Backbone, questions: Sequence[Question], which: Sequence[int], patch: Patch | None
) -> list[tuple[int, bool]]:
    """Whether what is said is one of the answers, as the data sets compare them."""
    if not which:
        return []
    texts = generate(
        backbone,
        [questions[i].prompt for i in which],
        [patch] * len(which),
        max(questions[i].room for i in which),
    )
    return [
        (i, any(_same(text, answer) for answer in questions[i].answers))
        for i, text in zip(which, texts, strict=True)
    ]


def _same(text: str, answer: str) -> bool:
    """The same words without articles, marks and case, to the first mark of the text; a number is the last
    one said.
    """
    if _NUMBER.fullmatch(answer):
        said = _NUMBER.findall(text)
        return bool(said) and said[-1].replace(",", "") == answer.replace(",", "")
    return _plain(re.split(r"[.,]", text)[0]) == _plain(answer)


def _plain(text: str) -> str:
    letters = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", letters).split())

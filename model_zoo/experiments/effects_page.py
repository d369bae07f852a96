"""docs/SIDE_EFFECTS.md: what edits change beside themselves, of tables of `side-effects`, `languages` and
`trace`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..palette import BLUE, LIGHT, WHITE
from .languages_section import PREFIX, languages_section
from .tables import Rows, in_order, methods_of, titled

FEW = 5  # cases: below, a figure says of how many it is, and answers no question
FOLDER = "results/side_effects"  # from docs/
# the table of `trace`; languages*.csv are of `languages`, all others of `side-effects`
TRACING = "tracing.csv"

_HEAD = """# Side effects

What an edit changes beside itself, measured on a real model. Written by `python -m model_zoo side-effects >
docs/SIDE_EFFECTS.md` from the tables in `docs/results/side_effects/`; no figure here is typed by hand. Of one
edit at hand the page's tab Side effects and `python -m model_zoo inspect` tell the same, prompt by prompt."""

_SINGLE = {
    "divergence": ("running text, nats a token", "{:.3f}"),
    "perplexity rise": ("perplexity", "{:+.1%}"),
    "subject stays": ("subject's other facts stay", "{:.0%}"),
    "category stays": ("same fact of others stays", "{:.0%}"),
    "answer stays": ("facts with the new answer stay", "{:.0%}"),
    "world stays": ("other facts stay", "{:.0%}"),
    "as at first": ("as at first after editing back", "{:.0%}"),
    "later wins": ("the later of two contrary edits is said", "{:.0%}"),
    "earlier stays": ("the earlier one is", "{:.0%}"),
}
_STACK = {
    "holds": ("edits hold", "{:.0%}"),
    "divergence": ("running text, nats a token", "{:.3f}"),
    "perplexity rise": ("perplexity", "{:+.1%}"),
    "boolq": ("BoolQ", "{:.0%}"),
    "rte": ("RTE", "{:.0%}"),
    "sst2": ("SST-2", "{:.0%}"),
    "nq_open": ("NQ-open", "{:.0%}"),
    "gsm8k": ("GSM8K", "{:.0%}"),
}
ABILITIES = ("boolq", "rte", "sst2", "nq_open", "gsm8k")
_CONTRARY = (
    "; beside a second edit of the same fact, in another wording and to another answer, the fact's wordings "
    "say the later answer, the earlier one, or neither"
)
_QUESTIONS: tuple[tuple[str, str, Callable], ...] = (
    ("Which edit leaves the same fact of others alone?", "category stays", max),
    ("Which leaves the subject's other facts alone?", "subject stays", max),
    ("Which can be taken back by another edit?", "as at first", max),
    ("With which does a later, contrary edit of the same fact win?", "later wins", max),
    ("Which moves running text least?", "divergence", min),
)


def document(tables: Mapping[str, Rows]) -> str:
    """SIDE_EFFECTS.md."""
    crossed = [row for name, own in tables.items() if name.startswith(PREFIX) for row in own]
    rows = [
        row for name, own in tables.items() if name != TRACING and not name.startswith(PREFIX) for row in own
    ]
    parts = [_HEAD]
    if single := [row for row in rows if row["edits"] == "1"]:
        parts += [_of_one(single), _answers(single)]
    if stacks := [row for row in rows if row["edits"] != "1"]:
        parts.append(_of_stacks(stacks))
    if crossed:
        parts.append(languages_section(crossed))
    if tracing := tables.get(TRACING):
        parts.append(_traced(tracing))
    return "\n\n".join(parts) + "\n"


def _made(row: Mapping[str, str]) -> str:
    return (
        f"{row['model']}, seed {row['seed']}, torch {row['torch']}, transformers {row['transformers']}, "
        f"{row['device']}"
    )


def _cell(row: Mapping[str, str] | None, number: str) -> str:
    if row is None:
        return ""
    mean, low, high = (number.format(float(row[key])) for key in ("mean", "low", "high"))
    few = f" (of {row['n']})" if int(row["n"]) < FEW else ""
    return f"{mean} [{low}, {high}]{few}"


def _table(
    head: Sequence[str], rows: Rows, columns: Mapping[str, tuple[str, str]], key: Callable
) -> list[str]:
    """A table whose rows are told apart by `key` and whose columns are measures."""
    shown = {name: look for name, look in columns.items() if any(row["measure"] == name for row in rows)}
    lines = [f"| {' | '.join([*head, *(title for title, _ in shown.values())])} |"]
    lines.append("|---" * (len(head) + len(shown)) + "|")
    for name in methods_of(rows):
        for cells in dict.fromkeys(key(row) for row in rows if row["method"] == name):
            own = {row["measure"]: row for row in rows if row["method"] == name and key(row) == cells}
            told = [_cell(own.get(measure), number) for measure, (_, number) in shown.items()]
            lines.append(f"| {' | '.join([titled(name), *cells, *told])} |")
    return lines


def _of_one(rows: Rows) -> str:
    most = max(int(row["n"]) for row in rows)
    contrary = any(row["measure"] == "later wins" for row in rows)
    told = (
        f"## One edit\n\n{_made(rows[0])}: up to {most} edits of listed facts that the model knows, each "
        "alone in it. Facts are those around each edit that the base model says; after an edit and another "
        "one back to the old answer, prompts are answered as at first or "
        f"not{_CONTRARY if contrary else ''}. In brackets bootstrap 95% intervals over edits.\n\n"
    )
    return told + "\n".join(_table(["method"], rows, _SINGLE, lambda row: ()))


def _answers(rows: Rows) -> str:
    """The questions, answered by the best and the worst figure."""
    lines = []
    for question, measure, best in _QUESTIONS:
        own = [row for row in rows if row["measure"] == measure and int(row["n"]) >= FEW]
        found = {row["method"]: float(row["mean"]) for row in own}
        if len(found) < 2:
            continue
        number, worst = _SINGLE[measure][1], min if best is max else max
        good, bad = (pick(found.values()) for pick in (best, worst))
        first, last = (
            ", ".join(titled(name) for name in in_order(found) if found[name] == value)
            for value in (good, bad)
        )
        told = f"{first} ({number.format(good)})"
        told += f"; at the other end {last} ({number.format(bad)})" if good != bad else ": all alike"
        lines.append(f"- **{question}** {told}.")
    return "\n".join(lines)


def _of_stacks(rows: Rows) -> str:
    asked = max((int(row["n"]) for row in rows if row["measure"] in ABILITIES), default=0)
    told = (
        "## Several edits in one model\n\nThe same edits made together, and general ability under them: "
        "choices by their likelihood, NQ-open by what is said, as lm-evaluation-harness asks them without "
        f"examples ({asked} questions of each).\n\n"
    )
    return told + "\n".join(_table(["method", "edits"], rows, _STACK, lambda row: (row["edits"],)))


def _traced(rows: Rows) -> str:
    blocks = sorted({int(row["block"]) for row in rows})
    lines = [f"| put back at | {' | '.join(map(str, blocks))} |", "|---" * (len(blocks) + 1) + "|"]
    means = {(row["role"], int(row["block"])): float(row["mean"]) for row in rows}
    for role in dict.fromkeys(row["role"] for row in rows):
        cells = [f"{means[role, block]:.0%}" if (role, block) in means else "" for block in blocks]
        lines.append(f"| {role} | {' | '.join(cells)} |")
    n = max(int(row["n"]) for row in rows)
    return (
        f"## Where answers come from\n\n{_made(rows[0])}, `python -m model_zoo trace --n {n}`: noise on the "
        "subject's tokens takes the base model's answer away; the share of it that comes back when one state "
        f"is put back behind a block (causal tracing, Meng et al. 2022), the mean over up to {n} listed "
        f"facts. {_site(means)}\n\n![Share of the answer that comes back]"
        f"({FOLDER}/{Path(TRACING).with_suffix('.svg')})\n\n" + "\n".join(lines)
    )


def tracing_figure(rows: Rows) -> str:
    """The averages as a heat map (SVG): what a token is downwards, blocks across, the share in each cell."""
    blocks = sorted({int(row["block"]) for row in rows})
    roles = list(dict.fromkeys(row["role"] for row in rows))
    left, top, width, height = 180, 12, 46, 30
    total = left + width * len(blocks) + 12, top + height * len(roles) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" '
        'font-family="system-ui,sans-serif" font-size="13">',
        f'<rect width="{total[0]}" height="{total[1]}" fill="{WHITE}"/>',
    ]
    for row in rows:
        x, y = left + width * blocks.index(int(row["block"])), top + height * roles.index(row["role"])
        share = min(max(float(row["mean"]), 0.0), 1.0)
        ink = WHITE if share > 0.55 else LIGHT.ink
        parts.append(
            f'<rect x="{x}" y="{y}" width="{width - 2}" height="{height - 2}" fill="{BLUE}" '
            f'fill-opacity="{0.04 + 0.96 * share:.2f}"/><text x="{x + width / 2 - 1}" y="{y + 19}" '
            f'text-anchor="middle" font-size="11" fill="{ink}">{share:.0%}</text>'
        )
    for i, role in enumerate(roles):
        y = top + height * i + 19
        parts.append(f'<text x="{left - 12}" y="{y}" text-anchor="end" fill="{LIGHT.ink}">{role}</text>')
    foot = top + height * len(roles) + 16
    for i, block in enumerate(blocks):
        middle = left + width * i + width / 2 - 1
        look = f'text-anchor="middle" font-size="11" fill="{LIGHT.soft}"'
        parts.append(f'<text x="{middle}" y="{foot}" {look}>{block}</text>')
    parts.append(f'<text x="{left}" y="{foot + 20}" fill="{LIGHT.soft}">state put back behind block</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _site(means: Mapping[tuple[str, int], float]) -> str:
    """Whether there is an early site at the subject's last token, in words."""
    early = {block: mean for (role, block), mean in means.items() if role == "last subject token"}
    late = {block: mean for (role, block), mean in means.items() if role == "last token"}
    if not early or not late:
        return ""
    over = [block for block in sorted(early) if early[block] > late.get(block, 0.0)]
    if not over:
        return (
            "No early site is found: at no block does the subject's last token bring back more than the last."
        )
    return (
        f"The early site is there: up to block {over[-1]} the subject's last token brings back more than the "
        f"prompt's last one (at most {max(early.values()):.0%}); behind it the last token takes over."
    )

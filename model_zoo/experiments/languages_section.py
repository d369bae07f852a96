"""The section of docs/SIDE_EFFECTS.md about languages, of tables of `languages`."""

from .tables import Rows, methods_of, percent, titled

PREFIX = "languages"  # of the tables' names
METRICS = ("reliability", "generality", "locality", "portability")


def languages_section(rows: Rows) -> str:
    """Edits in one language, asked in another: every pair, and whether edits cross over."""
    first, lines = rows[0], [f"| method | edited | asked | n | {' | '.join(METRICS)} |"]
    lines.append("|---" * (4 + len(METRICS)) + "|")
    methods = methods_of(rows)
    for name in methods:
        own = [row for row in rows if row["method"] == name]
        for edited, asked in dict.fromkeys((row["edited"], row["asked"]) for row in own):
            pair = {row["metric"]: row for row in own if (row["edited"], row["asked"]) == (edited, asked)}
            told = [percent(pair.get(metric)) for metric in METRICS]
            n = max(int(row["n"]) for row in pair.values())
            lines.append(f"| {_title(name, own)} | {edited} | {asked} | {n} | {' | '.join(told)} |")
    return (
        f"## In another language\n\n{first['model']}, {first['data']}, seed {first['seed']}, torch "
        f"{first['torch']}, transformers {first['transformers']}, {first['device']}, `python -m model_zoo "
        "languages`: each row edited in one language, alone on the base model, and asked in both; what is "
        "said is judged in the language of the question. In brackets bootstrap 95% intervals over rows.\n\n"
        + "\n".join(lines)
        + "\n\n"
        + "\n".join(_crossing(name, rows) for name in methods)
    )


def _title(name: str, own: Rows) -> str:
    editor = own[0].get("editor")
    return titled(name) + (f" ({editor})" if editor else "")


def _crossing(name: str, rows: Rows) -> str:
    """How often an edit holds where it was made, and how often in the other language."""
    own = [row for row in rows if row["method"] == name and row["metric"] == "reliability"]
    there = [f"{float(row['mean']):.0%} in {row['asked']}" for row in own if row["edited"] == row["asked"]]
    over = [
        f"{float(row['mean']):.0%} from {row['edited']} to {row['asked']}"
        for row in own
        if row["edited"] != row["asked"]
    ]
    return (
        f"- **{titled(name)}**: edits hold in their own language ({', '.join(there)}), and "
        f"cross over in {', '.join(over)}."
    )

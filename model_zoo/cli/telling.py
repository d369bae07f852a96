"""What `edit` tells people, of one edit and of a file of them."""

import sys

from ..events import KNOWN, EditReport
from ..many import AfterAll, FilePlan


def tell_edit(report: EditReport) -> None:
    """One edit, what it changed and what it left alone."""
    verdict = "the edit holds" if report.held else "THE EDIT DOES NOT HOLD: its own prompt does not say it"
    print(f"Verdict      {verdict}")
    print(f"Prompt       {report.prompt}\nBefore       {report.before}\nAfter        {report.after}")
    if report.degenerate:
        print("Note         the text after the edit repeats itself; try a lower --strength")
    if report.known:
        print(f"Note         {KNOWN}")
    for label in report.contradicts:
        print(f"Conflict     '{label}' is on too: one fact cannot have two answers, leave one of them out")
    if report.subject:
        print(f"Subject      {report.subject}")
    chance = report.target_probability
    print(
        f"P(target)    {chance['before']:.1%} -> {chance['after']:.1%}    edit made in "
        f"{report.edit_seconds * 1000:.0f} ms"
    )
    for title, checks in (("Holds", report.generality), ("Local", report.locality)):
        judged = [check for check in checks if check.held is not None]
        print(f"{title:<12} {sum(bool(c.held) for c in judged)} of {len(judged)}")
        for check in checks:
            sign = {True: "yes", False: "NO", None: "~"}[check.held]
            drift = "" if check.drift is None else f"  ({check.drift:.2f} nats a token away)"
            print(f"  {sign:<4}{check.prompt}  |  {check.before}  ->  {check.after}{drift}")
    for asked in report.ask:
        print(f"Ask          {asked['prompt']}  |  {asked['before']}  ->  {asked['after']}")


def tell_read(plan: FilePlan, dropped: int, probes: int) -> None:
    """What was read of a file and what not, on stderr."""

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    loaded = plan.loaded
    say(f"Read         {loaded.rows} rows of {loaded.name} ({loaded.format}): {', '.join(loaded.shapes)}")
    if plan.beyond:
        say(f"Not taken    {plan.beyond} edits behind the first {len(loaded.records) - plan.beyond}")
    if loaded.unread:
        say(f"Not read     {', '.join(f'{name} ({n} rows)' for name, n in loaded.unread.items())}")
    for problem in loaded.skipped:
        title = "Refused" if problem.refused else "Note"
        say(f"{title:<13}{problem.place}, {problem.field}: {problem.reason}")
    for conflict in plan.conflicts:
        say(f"Conflict     {conflict.in_words()}")
    say(f"Judged       each by its own prompt, and at most {probes} of its row's of each kind (--probes)")
    if dropped:
        say(f"Not made     {dropped} edits that others contradict or that repeat others")


def tell_all(result: AfterAll) -> None:
    """Every edit of a file as it is after all of them."""
    for edit in result.edits:
        sign = "holds" if edit.held else "NO"
        around = "".join(
            f"  {name} {part}/{whole}"
            for name, (part, whole) in (("follow", edit.follows), ("stay", edit.stays))
            if whole
        )
        print(f"{sign:<6} {edit.prompt}  |  {edit.before}  ->  {edit.after}{around}")
    n, seconds = len(result.edits), result.seconds
    print(f"{result.held:.1%} of {n} edits hold after all of them ({seconds:.0f} s)")

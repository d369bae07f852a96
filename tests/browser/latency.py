"""`make latency [MODEL=smollm2]`: held-out records through the real page, timed from the click. Prints JSON.

Five records per task drawn by seed, plus each task's first example: whether the target begins "after" and not
"before", seconds from the click until the whole text stands there, and until every paraphrase and neighbour
is judged.
"""

import json
import platform
import random
import statistics
import sys
import time

import torch

from model_zoo.catalog import DEFAULT_MODEL
from model_zoo.evaluation import contains, starts_with
from model_zoo.loading import LoadOptions
from model_zoo.sources import Source
from model_zoo.studio import Studio
from model_zoo.tasks import TASKS

from .conftest import answer, launched, open_page, serve

SEED = 20


def rows(source: Source) -> list[tuple[str, str, str]]:
    """(task, prompt, target): the drawn records, then the first examples."""
    records = [
        r
        for t in TASKS.values()
        for r in source.records(t.name, "test", 5, random.Random(f"{t.name} {SEED}"))
    ]
    drawn = [(r.request.task, r.request.prompt, r.request.target) for r in records]
    return drawn + [(task, found[0].prompt, found[0].target) for task, found in source.examples.items()]


def timed(page, task: str, prompt: str, target: str) -> dict:
    page.locator("#clear").click()
    page.wait_for_function("document.querySelectorAll('#stack input').length === 0")
    page.get_by_label(TASKS[task].title, exact=True).check()
    page.wait_for_timeout(700)
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#target textarea").fill(target)
    page.evaluate("document.querySelector('#pair').innerHTML.length")
    start = time.perf_counter()
    page.locator("#apply").click()
    page.wait_for_function("document.querySelectorAll('#stack input').length === 1")
    page.wait_for_selector("#pair .side-after .chance b")
    text = time.perf_counter() - start
    page.wait_for_selector("#verdicts .score")
    judged = time.perf_counter() - start
    before, after = answer(page, "before"), answer(page, "after")
    hit = contains(after, target) and not starts_with(before, target)
    return {
        "task": task,
        "prompt": prompt,
        "target": target,
        "before": before,
        "after": after,
        "hit": hit,
        "text_s": text,
        "judged_s": judged,
    }


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL
    source = Studio.open(model, LoadOptions("cpu")).source
    with serve("--model", model) as url, launched() as browser:
        page = open_page(browser, url)
        results = [timed(page, *row) for row in rows(source)]
    drawn, examples = results[: -len(TASKS)], results[-len(TASKS) :]
    report = {
        "model": model,
        "seed": SEED,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    for name, part in (("drawn", drawn), ("examples", examples)):
        report[name] = {"hits": sum(r["hit"] for r in part), "of": len(part)}
    for name in ("text_s", "judged_s"):
        seconds = [r[name] for r in results]
        report[name] = {"median": statistics.median(seconds), "max": max(seconds)}
    report["misses"] = [r for r in results if not r["hit"]]
    print(json.dumps(report, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()

"""Clients who edit, ask, undo, cancel and leave, each sure of what it must be told and what not."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

import httpx

from ..sources import Source
from .client import Answer, Client
from .server import Server

EDITS = 2  # of each client
SAMPLED = 5.0  # seconds between two looks at the server's memory
WARM_UP = 0.4  # of the time, before it: until sessions come and go at the same rate
COMPARED = 12  # looks at the memory whose mean is compared: a minute's
ACTIONS = {"ask": 6, "edit": 4, "undo": 2, "cancel": 1, "leave": 1}

Pair = tuple[str, str]  # a prompt and the target that a client edits into it


@dataclass
class Load:
    """What happened to a crowd."""

    ends: dict[str, Counter[str]] = field(default_factory=dict)  # by action
    seconds: dict[str, list[float]] = field(default_factory=dict)  # of those that were answered
    leaks: list[str] = field(default_factory=list)  # another client's target was said
    differences: list[str] = field(default_factory=list)  # another text than the client had when it was alone
    refusals: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)  # MB
    warm: int = 0  # looks at the memory before the warm-up was over

    def add(self, action: str, answer: Answer) -> None:
        self.ends.setdefault(action, Counter())[answer.end] += 1
        if answer.end == "done":
            self.seconds.setdefault(action, []).append(answer.seconds)
        if answer.end == "refused":
            self.refusals[str(answer.data)[:200]] += 1

    @property
    def memory_warm(self) -> float:
        """MB when the warm-up was over."""
        return _mean(self.memory[: self.warm][-COMPARED:])

    @property
    def memory_end(self) -> float:
        """MB at the end."""
        return _mean(self.memory[-COMPARED:])

    @property
    def unanswered(self) -> int:
        return sum(ends["unanswered"] for ends in self.ends.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with quantiles of the seconds."""
        cuts = {
            name: quantiles(s, n=100, method="inclusive") for name, s in self.seconds.items() if len(s) > 1
        }
        return {
            "requests": sum(sum(ends.values()) for ends in self.ends.values()),
            "by_action": {name: dict(ends) for name, ends in sorted(self.ends.items())},
            "seconds": {
                name: {"p50": round(c[49], 2), "p95": round(c[94], 2), "p99": round(c[98], 2)}
                for name, c in sorted(cuts.items())
            },
            "unanswered": self.unanswered,
            "leaks": len(self.leaks),
            "differences": len(self.differences),
            "told": [*self.leaks[:5], *self.differences[:5]],
            "refusals": dict(self.refusals.most_common(5)),
            "memory_mb": {"warm": self.memory_warm, "end": self.memory_end, "over_time": self.memory},
        }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 1) if values else 0.0


def pairs(source: Source, n: int, seed: int = 0) -> list[Pair]:
    """n different edits of a few prompts, so that another's edit would be seen; ValueError for too many."""
    relations = sorted(source.relations(seed), key=lambda facts: -len({answer for _, answer in facts}))
    found = [
        (prompt, target)
        for facts in relations[:6]
        for prompt, answer in facts[:8]
        for target in sorted({other for _, other in facts} - {answer})
    ]
    if len(found) < n:
        raise ValueError(f"The facts that this model knows make {len(found)} different edits, not {n}.")
    return random.Random(seed).sample(found, n)


class Visitor:
    """A client with edits of its own, which it makes in their order."""

    def __init__(self, client: Callable[[], Client], model: str, task: str, own: Sequence[Pair], load: Load):
        self._new, self.client, self.load = client, client(), load
        self.model, self.task, self.own = model, task, own
        self.made: set[int] = {0}  # how many edits it may have; more than one number after a cancel
        self.alone: dict[tuple[int, int], Pair] = {}  # (edits, prompt asked): what both sides then say
        self.foreign: set[str] = set()

    async def _ask(self, place: int) -> Answer:
        return await self.client.call("ask", [self.own[place][0]])

    async def _edit(self, place: int, **leaving: Any) -> Answer:
        prompt, target = self.own[place]
        return await self.client.call("edit", [self.model, self.task, "", prompt, target, 1, ""], **leaving)

    async def look(self) -> None:
        """Alone on the page: note what each prompt says under none, one and all of the edits."""
        for made in range(EDITS + 1):
            if made:
                await self._edit(made - 1)
            for place in range(EDITS):
                said = await self._ask(place)
                if said.end != "done":
                    raise OSError(f"A question of a client alone was not answered: {said.data}")
                self.alone[made, place] = said.data["before"], said.data["after"]
        await self.leave()

    async def leave(self) -> None:
        await self.client.close()
        self.client, self.made = self._new(), {0}

    async def act(self, action: str, rng: random.Random) -> None:
        """One action; one that cannot be done now is a question."""
        sure = len(self.made) == 1
        made = max(self.made)
        if action == "edit" and sure and made < EDITS:
            answer = await self._edit(made)
            if answer.end == "done":
                self.made = {made + 1}
                self._heard(made, (answer.data["before"], answer.data["after"]))
        elif action == "undo" and sure and made:
            answer = await self.client.call("undo", [])
            if answer.end == "done":
                self.made = {made - 1}
        elif action == "cancel" and sure and made < EDITS:
            answer = await self._edit(made, leave=rng.uniform(0, 2), cancel=True)
            self.made = {made + 1} if answer.end == "done" else {made, made + 1}
        elif action == "leave":
            place = rng.randrange(EDITS)
            answer = await self._edit(place, leave=rng.random())
            await self.leave()
        else:
            action, place = "ask", rng.randrange(EDITS)
            answer = await self._ask(place)
            if answer.end == "done":
                self._heard(place, (answer.data["before"], answer.data["after"]))
        self.load.add(action, answer)
        if answer.end == "refused":
            await asyncio.sleep(rng.uniform(0.5, 2))

    def _heard(self, place: int, said: Pair) -> None:
        """Compare with what was said to this client alone."""
        fitting = {made for made in self.made if self.alone[made, place] == said}
        if fitting:
            self.made = fitting
            return
        told = f"{self.own[place]}: {said}, and alone {[self.alone[made, place] for made in self.made]}"
        strange = any(said[1].lower().startswith(target) for target in self.foreign)
        (self.load.leaks if strange else self.load.differences).append(told)


class Crowd:
    """So many clients at once on one page."""

    def __init__(self, server: Server, clients: int, model: str, task: str, source: Source, seed: int = 0):
        self.server, self.n, self.seed, self.load = server, clients, seed, Load()
        self.model, self.task = model, task
        self.edits = pairs(source, clients * EDITS, seed)

    def run(self, seconds: float, told: Callable[[str], None]) -> Load:
        """Each client alone first, then all together: a warm-up of WARM_UP times so long, and so long."""
        with ThreadPoolExecutor(1) as own:  # a thread of its own: the caller's may run a loop already
            own.submit(asyncio.run, self._run(seconds, told)).result()
        return self.load

    async def _run(self, seconds: float, told: Callable[[str], None]) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=4 * self.n)
        async with httpx.AsyncClient(base_url=self.server.url, limits=limits, timeout=None) as http:
            config = (await http.get("/config")).json()
            events = {d["api_name"]: d["id"] for d in config["dependencies"] if d["api_name"]}
            visitors = [self._visitor(http, events, n) for n in range(self.n)]
            for n, visitor in enumerate(visitors):
                told(f"Client {n + 1} of {self.n} alone…")
                await visitor.look()
            warm = time.monotonic() + WARM_UP * seconds
            end = warm + seconds
            watching = asyncio.create_task(self._watch(warm, end, told))
            await asyncio.gather(*(self._live(visitor, n, end) for n, visitor in enumerate(visitors)))
            await watching

    def _visitor(self, http: httpx.AsyncClient, events: dict[str, int], n: int) -> Visitor:
        own = self.edits[n * EDITS : (n + 1) * EDITS]
        visitor = Visitor(lambda: Client(http, events), self.model, self.task, own, self.load)
        visitor.foreign = {target.lower() for _, target in self.edits} - {target.lower() for _, target in own}
        return visitor

    async def _live(self, visitor: Visitor, n: int, end: float) -> None:
        rng = random.Random(f"{self.seed}-{n}")
        while time.monotonic() < end and self.server.alive:
            (action,) = rng.choices(list(ACTIONS), list(ACTIONS.values()))
            await visitor.act(action, rng)
        await visitor.leave()

    async def _watch(self, warm: float, end: float, told: Callable[[str], None]) -> None:
        """The server's memory, while the crowd is there."""
        while (left := end - time.monotonic()) > 0 and self.server.alive:
            health = await asyncio.to_thread(self.server.health)
            self.load.memory.append(health["memory_mb"])
            self.load.warm += time.monotonic() < warm
            told(f"{left:.0f} s left, {sum(sum(e.values()) for e in self.load.ends.values())} requests…")
            await asyncio.sleep(min(SAMPLED, max(0.0, left)))

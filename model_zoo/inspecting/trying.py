"""The edit made otherwise: at other strengths, back to the old answer, and against another of its fact."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from ..changes import Patch
from ..evaluation.text import protected, typed_small, unchanged
from ..generation import answered, generate
from ..records import Probe
from ..session import Edit, EditSession
from ..studio import Studio
from .findings import EditedBack, Returned, Strength, Strengths

STRENGTHS = tuple(i / 4 for i in range(9))  # 0 to 2
BESIDE = 6  # facts asked at every strength
ROOM = 8  # tokens of an answer


def strengths(studio: Studio, edit: Edit, old: str, beside: Sequence[Probe]) -> Strengths:
    """The edit alone at every strength, in one batch: its target, the old answer, and facts beside it."""
    if not edit.change.scales:
        return Strengths((), 0, f"{edit.change.title[:1].upper()}{edit.change.title[1:]} is on or off.")
    beside = beside[:BESIDE]
    put = studio.put(edit.request.prompt, edit.request)
    pairs = [(put, edit.request.target), (put, old or edit.request.target)]
    pairs += [(probe.prompt, probe.answer) for probe in beside]
    alone = [_alone(studio, edit, strength) for strength in STRENGTHS]
    found = answered(studio.backbone, pairs * len(alone), [patch for patch in alone for _ in pairs])
    points = []
    for i, strength in enumerate(STRENGTHS):
        target, before, *others = found[i * len(pairs) : (i + 1) * len(pairs)]
        likely = before.likelihood if old else 0.0
        points.append(Strength(strength, target.likelihood, likely, sum(o.said for o in others)))
    return Strengths(tuple(points), len(beside))


def _alone(studio: Studio, edit: Edit, strength: float) -> Patch | None:
    return EditSession((replace(edit, strength=strength, on=True),)).patch(studio.method)


def edited_back(
    studio: Studio, edit: Edit, session: EditSession, old: str, probes: Sequence[Probe]
) -> EditedBack:
    """The edit followed by another of its prompt, back to the old answer, as a person would type it: are the
    probes answered as at first? The session's other edits stay on, and the model that it is compared with has
    them on too.
    """
    if not old:
        return EditedBack(
            "", (), "The base model gives no short answer of its own here that one could edit back to."
        )
    request = replace(edit.request, target=old)
    try:
        back, _ = studio.propose(request, edit.method, edit.strength, edit.hyperparameters)
    except ValueError as error:
        return EditedBack(old, (), str(error))
    others = session.without([request.prompt])
    before, after = studio.patch(others), studio.patch(session.add(back))
    put = [studio.put(probe.prompt, request) for probe in probes]
    said = generate(studio.backbone, [*put, *put], [*[before] * len(put), *[after] * len(put)], ROOM)
    answers = zip(probes, put, said[: len(put)], said[len(put) :], strict=True)
    return EditedBack(old, tuple(returned(studio, *answer) for answer in answers))


def against(studio: Studio, edit: Edit, rival: str) -> tuple[float, float] | None:
    """The edit, then one of the same fact in another wording, to a `rival` answer, both on: the shares of the
    fact's wordings, the edit's own prompt among them, that say the later answer, and the earlier one. None
    where no other wording is at hand that the method can edit.
    """
    own = edit.request
    wordings = [text for text in studio.source.evidence(own.prompt).generality if studio.fits(text)]
    if not wordings:
        return None
    request = replace(own, prompt=wordings[0], target=rival, subject=studio.subject_of(wordings[0]))
    try:
        later, _ = studio.propose(request, edit.method, edit.strength, edit.hyperparameters)
    except ValueError:
        return None
    put = [studio.put(prompt, own) for prompt in (own.prompt, *wordings)]
    both = studio.patch(EditSession((edit, later)))
    texts = generate(studio.backbone, put, [both] * len(put), ROOM)
    share = lambda wanted: fmean(studio.holds(wanted, text) for text in texts)  # noqa: E731
    return share(request), share(own)


def returned(studio: Studio, probe: Probe, put: str, before: str, after: str) -> Returned:
    """One prompt, put to the model as `put`, and whether it is answered as before."""
    small, in_chat = typed_small(probe.prompt), studio.backbone.in_chat(put)
    answer = protected(before, probe.answer, small, in_chat)
    return Returned(probe.prompt, before, after, unchanged(before, after, answer, small, in_chat))

"""The reference edits whose directions lie nearest to an edit's, and what becomes of them."""

from dataclasses import replace

from ..changes import Patch, patch_of
from ..directions import DirectionSpace
from ..generation import answered, generate
from ..methods import check_requests
from ..records import Probe
from ..session import Edit
from ..studio import Studio
from .findings import NearEdit, NearestEdits
from .trying import ROOM, returned

NEAREST, REFERENCES = 5, 10  # edits that are told, and of every task those that they are looked for among


def nearest_edits(studio: Studio, space: DirectionSpace, edit: Edit, patch: Patch | None) -> NearestEdits:
    """The nearest reference edits, each made alone by the edit's method; its prompt asked under `patch`."""
    cosines = space.cosines(edit.request, space.views[0], True)
    others = [
        (
            float(cosine),
            replace(request, subject=studio.subject_of(request.prompt, record), chat=edit.request.chat),
        )
        for cosine, request, (_, record) in zip(cosines, space.requests(True), space.records, strict=True)
        if request.prompt != edit.request.prompt
    ]
    near = sorted(others, key=lambda other: -other[0])[:NEAREST]
    requests = [request for _, request in near]
    method = studio.method(edit.method, edit.hyperparameters)
    try:
        check_requests(type(method), requests)
        made = [patch_of(change) for change in method.propose(requests)]
    except ValueError as error:
        return NearestEdits((), len(space.records), str(error))
    put = [studio.put(request.prompt, request) for request in requests]
    held = answered(studio.backbone, [(p, r.target) for p, r in zip(put, requests, strict=True)], made)
    said = generate(studio.backbone, [*put, *put], [*[None] * len(put), *[patch] * len(put)], ROOM)
    found = []
    for (cosine, request), own, text, before, after in zip(near, held, put, said, said[len(put) :]):
        same = returned(studio, Probe(request.prompt, ""), text, before, after).same
        found.append(
            NearEdit(
                request.task,
                request.prompt,
                request.target,
                cosine,
                own.likelihood,
                own.said,
                before,
                after,
                same,
            )
        )
    return NearestEdits(tuple(found), len(space.records))

"""Backbone: a frozen Hugging Face causal LM with its tokenizer, and forward hooks that read the active edit.

The base weights are never written. `edited(live)` sets a context variable that one hook per MLP linear
reads; leaving it is bit-exact. Never yield inside `edited()` or `no_grad()`: `stream` runs the generation in
a thread of its own instead.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .active import ACTIVE, SHAPE, TRUNK, Active, Live, Tape, Trunk, activated
from .chat import Chat
from .checkpoints import Checkpoint
from .joining import Joined, join_text, prompt_ids
from .structure import Structure


@dataclass(frozen=True)
class Origin:
    """Where a model came from: its folder here, and the repo and commit of a Hub model."""

    folder: Path
    repo: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Batch:
    """Right-padded rows: input_ids, attention_mask, labels [rows, T]; labels are -100 off target tokens."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    kept: tuple[Tensor, Tensor] | None = None  # of a trunk: what enters its first block, and the final states
    first: int = 0

    @property
    def predicting(self) -> Tensor:
        """Boolean [rows, T]: positions whose next token is a target token."""
        shifted = torch.zeros_like(self.labels, dtype=torch.bool)
        shifted[:, :-1] = self.labels[:, 1:] != -100
        return shifted

    @property
    def targets(self) -> Tensor:
        """Target token ids [N], row by row, matching `predicting`."""
        return self.labels[:, 1:][self.labels[:, 1:] != -100]

    @property
    def target_rows(self) -> Tensor:
        """The row that each target token stands in, [N], matching `targets`."""
        return self.predicting.nonzero()[:, 0]


class Backbone(Structure, Chat):
    """A frozen causal LM.

    `name` is how people call it. `origin` says which files it came from; None for one made in memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str = "model",
        origin: Origin | None = None,
    ):
        super().__init__(model)
        self.tokenizer = tokenizer
        self.name, self.origin = name, origin
        # padding is never seen: any token will do
        known = (tokenizer.pad_token_id, self.end_id, 0)
        self.pad_id = next(i for i in known if i is not None)
        self._in_tuples: bool | None = None  # whether its blocks return their states in a tuple
        for block, module in enumerate(self.block_list):
            module.forward = self._skipping(block, module.forward)
            for path in self.family.linears(block):
                model.get_submodule(path).register_forward_hook(self._hook(path))
        head = model.get_output_embeddings()
        head.forward = self._at_head(head.forward)

    @property
    def published_name(self) -> str:
        """The repo it came from, by which others find it too; else how people here call it."""
        return (self.origin and self.origin.repo) or self.name

    @cached_property
    def fingerprint(self) -> str:
        """A short digest of the MLP weights' corners as stored.

        It tells two models of the same shape apart, whatever dtype they run in.
        """
        paths = self.last_blocks(self.blocks)
        if self.origin:
            stored = Checkpoint(self.origin.folder)
            corners = [stored.corner(path) for path in paths]
        else:
            corners = [self.model.get_submodule(path).weight[:16, :16] for path in paths]
        numbers = b"".join(c.float().cpu().numpy().tobytes() for c in corners)
        return hashlib.sha256(numbers).hexdigest()[:16]

    def weights_hash(self) -> str:
        """A digest of all parameters as they are in memory now: no edit, whoever made it, changes it."""
        digest = hashlib.sha256()
        for _, parameter in sorted(self.model.named_parameters()):
            digest.update(parameter.detach().cpu().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    # ---- edits -------------------------------------------------------------------------------------------

    def _seen(self) -> Active | None:
        """What this backbone's forward pass sees, in this thread."""
        active = ACTIVE.get()
        return active if active is not None and active.backbone is self else None

    def _hook(self, path: str):
        def hook(module, args, output: Tensor) -> Tensor | None:
            if (active := self._seen()) is None:
                return None
            shape = SHAPE.get()
            x, y = args[0].reshape(*shape, -1), output.reshape(*shape, -1)
            if active.live is not None and (changed := active.live.output(path, x, y)) is not None:
                y = changed
            if active.tape is not None and path in active.tape.paths:
                y = active.tape.record(path, x, y)
            return y.reshape(output.shape)

        return hook

    @contextmanager
    def edited(self, live: Live | None) -> Iterator[None]:
        """Within this block (and this thread) the model's rows see `live`. Do not yield inside it."""
        with activated(Active(self, live=live)):
            yield

    def _skipping(self, block: int, forward: Callable) -> Callable:
        """A block's forward that is passed over while kept states stand for what it makes."""

        def skipping(hidden: Tensor, *args, **kwargs):
            if (active := self._seen()) is None:
                return forward(hidden, *args, **kwargs)
            if active.entering is not None and block <= active.first:
                hidden = active.entering
            SHAPE.set(hidden.shape[:-1])
            if block < active.first:
                return self._passed_over(hidden, forward, args, kwargs)
            if active.visit is not None:
                hidden = active.visit(block, hidden)
            out = forward(hidden, *args, **kwargs)
            self._in_tuples = isinstance(out, tuple)
            return out

        return skipping

    def _passed_over(self, hidden: Tensor, forward: Callable, args: tuple, kwargs: dict) -> Tensor | tuple:
        """What a block that is passed over returns: the states, as it would return its own."""
        if self._in_tuples is None:  # told by its own answer, once
            self._in_tuples = isinstance(forward(hidden, *args, **kwargs), tuple)
        return (hidden,) if self._in_tuples else hidden

    def _at_head(self, forward: Callable) -> Callable:
        """The head's forward: passed over where only what enters it is wanted, or run on given states."""

        def at_head(hidden: Tensor) -> Tensor:
            if (active := self._seen()) is None:
                return forward(hidden)
            if active.taken is not None:
                active.taken.append(hidden)
                return hidden
            return forward(hidden if active.read is None else active.read)

        return at_head

    @contextmanager
    def kept_below(self, trunk: Trunk) -> Iterator[None]:
        """Within this block (and this thread) batches come with the states that `trunk` keeps, and only what
        lies above them is computed.
        """
        token = TRUNK.set((self, trunk))
        try:
            yield
        finally:
            TRUNK.reset(token)

    # ---- text in -----------------------------------------------------------------------------------------

    def join(self, prompt: str, target: str) -> Joined:
        """The only place where a prompt and a target become tokens; see `joining.join_text`."""
        joined = join_text(self.tokenizer, prompt, target)
        if len(joined.ids) > self.max_length:
            raise ValueError(
                f"Instruction, prompt and target are {len(joined.ids)} tokens long together, "
                f"but {self.name} reads at most {self.max_length}; shorten them."
            )
        return joined

    def ids(self, prompt: str) -> tuple[int, ...]:
        """A prompt's tokens, up to where an answer begins."""
        return tuple(prompt_ids(self.tokenizer, prompt))

    @property
    def end_id(self) -> int | None:
        """The token that ends a text; for a tokenizer of BERT's kind, its separator."""
        end, separator = self.tokenizer.eos_token_id, self.tokenizer.sep_token_id
        return separator if end is None else end

    @property
    def ends(self) -> list[int] | None:
        """The tokens that generation stops at: the model's own, and the one that ends a text."""
        own = self.model.generation_config.eos_token_id
        found = {*(own if isinstance(own, list) else [own]), self.end_id} - {None}
        return sorted(found) or None

    def silent(self, prompt: str) -> Joined:
        """A prompt behind which nothing comes but the model's end token."""
        ids = self.ids(prompt)
        return self.stopped(Joined(ids, len(ids)))

    def stopped(self, row: Joined) -> Joined:
        """A row with the model's end token behind its target."""
        if (end := self.end_id) is None:
            raise ValueError(
                f"The tokenizer of {self.name} has no end token, so no text can be ended by one."
            )
        if len(row.ids) >= self.max_length:
            raise ValueError(
                f"Prompt and target are {len(row.ids)} tokens long together, and with the end token "
                f"{self.name} has room for {self.max_length - 1}; shorten them."
            )
        return replace(row, ids=(*row.ids, end))

    def batch(self, rows: Sequence[Joined]) -> Batch:
        """Right-pad joined rows into one batch on the model's device, with what a trunk keeps of them."""
        batch, keeping = self._padded(rows), TRUNK.get()
        if keeping is None or keeping[0] is not self:
            return batch
        return replace(batch, kept=keeping[1].kept(rows), first=keeping[1].first)

    def _padded(self, rows: Sequence[Joined]) -> Batch:
        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), self.pad_id)
        mask = torch.zeros_like(ids)
        labels = torch.full_like(ids, -100)
        for i, row in enumerate(rows):
            n = len(row.ids)
            ids[i, :n], mask[i, :n] = torch.tensor(row.ids), 1
            labels[i, row.start : n] = torch.tensor(row.labels or row.ids[row.start :])
        return Batch(ids.to(self.device), mask.to(self.device), labels.to(self.device))

    # ---- forward -----------------------------------------------------------------------------------------

    def reading(self, batch: Batch) -> dict[str, Tensor]:
        """What the model is called with to read a batch."""
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}

    def real(self, batch: Batch) -> Tensor:
        """[rows, T] bool: the tokens that the edited blocks see."""
        return batch.attention_mask.bool()

    def idle(self, rows: int) -> dict:
        """What it is called with where its blocks are passed over: one token a row, whichever."""
        ids = torch.full((rows, 1), self.pad_id, device=self.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def asking(self, ids: Tensor, mask: Tensor) -> tuple[dict[str, Tensor], int]:
        """What it goes on from in generation, for left-padded prompts [rows, T]; and how many of the tokens
        that it returns stand before the first new one.
        """
        return {"input_ids": ids, "attention_mask": mask}, ids.shape[1]

    def hidden(self, batch: Batch) -> Tensor:
        """Final hidden states [rows, T, d] under whatever edit is active: what enters the model's head."""
        active = self._seen() or Active(self)
        if batch.kept is not None:
            active = replace(active, entering=batch.kept[0], first=batch.first)
        return self._final(active, self.reading(batch))

    def finished(self, states: Tensor) -> Tensor:
        """Final hidden states [n, d] of what leaves a block, [n, d]: nothing but the last norm is between."""
        active = Active(self, entering=states[:, None], first=self.blocks)
        return self._final(active, self.idle(len(states)))[:, 0]

    def _final(self, active: Active, inputs: Mapping) -> Tensor:
        taken: list[Tensor] = []
        with activated(replace(active, taken=taken)):
            self.model(**inputs, use_cache=False)
        return taken[0].to(self.device)  # a model spread over several GPUs ends on the last one

    def target_logits(self, batch: Batch, live: Live | None = None) -> Tensor:
        """Float32 logits [N, vocab] at the positions that predict target tokens, row by row.

        The model's head runs only there.
        """
        if live is None and batch.kept is not None:
            return self.head(batch.kept[1][batch.predicting])
        with self.edited(live):
            hidden = self.hidden(batch)
        return self.head(hidden[batch.predicting])

    def head(self, hidden: Tensor) -> Tensor:
        """Float32 logits [N, vocab] of final states [N, d], on their device: the model's own head with all
        that it does to its logits (a bias, a cap, a scale).
        """
        with activated(Active(self, first=self.blocks, read=hidden[None])):
            return self.model(**self.idle(1), use_cache=False).logits[0].float().to(hidden.device)

    def row_nll(self, batch: Batch, live: Live | None = None) -> Tensor:
        """Mean NLL in nats of each row's target tokens, [rows]."""
        logits = self.target_logits(batch, live)
        nll = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
        total = torch.zeros(len(batch.labels), device=nll.device).index_add(0, batch.target_rows, nll)
        return total / batch.predicting.sum(1).clamp(min=1)

    def capture(
        self, rows: Sequence[Joined], paths: Sequence[str], live: Live | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Inputs u and output gradients delta, for the mean NLL of each row's target.

        They are those of the base model, or of the model under `live`. Returns, all detached and float32:
        {path: u [rows, T, d_in]}, {path: delta [rows, T, d_out]}, and the real tokens [rows, T] bool.
        Rows do not influence each other: the loss is the sum of per-row means.
        """
        batch, tape = self.batch(rows), Tape(tuple(paths))
        with torch.enable_grad(), activated(Active(self, live=live, tape=tape)):
            hidden = self.hidden(batch)
            logits = self.head(hidden[batch.predicting])
            nll = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
            per_row = batch.predicting.sum(1)[batch.target_rows]
            grads = torch.autograd.grad((nll / per_row).sum(), [tape.probes[p] for p in paths])
        inputs = {p: tape.inputs[p].float().to(self.device) for p in paths}
        gradients = {p: g.to(self.device) for p, g in zip(paths, grads, strict=True)}
        return inputs, gradients, self.real(batch)

    @torch.no_grad()
    def states(self, rows: Sequence[Joined], first: int, live: Live | None = None) -> tuple[Tensor, Tensor]:
        """Of the base model, or of the model under `live`: what enters block `first`, and the final hidden
        states, [rows, T, d] each.
        """
        entered: dict[int, Tensor] = {}

        def visit(block: int, hidden: Tensor) -> Tensor:
            if block == first:
                entered[block] = hidden
            return hidden

        with activated(Active(self, live=live, visit=visit)):
            final = self.hidden(self._padded(rows))
        return entered[first].to(final.device), final

    @torch.no_grad()
    def inputs(
        self, rows: Sequence[Joined], paths: Sequence[str], live: Live | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs u [rows, T, d_in] of the given linears on the base model, or on that under `live`; the real
        tokens [rows, T].
        """
        batch, tape = self.batch(rows), Tape(tuple(paths))
        with activated(Active(self, live=live, tape=tape)):
            self.hidden(batch)
        return {p: tape.inputs[p].float().to(self.device) for p in paths}, self.real(batch)

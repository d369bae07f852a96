"""The trunk: what a frozen base model's lower blocks make of rows, computed once and kept on disk.

Training edits the last blocks only, so a row's states below them never change. They are kept in float16 (two
states a token: what enters the first edited block, and the base model's final one, from which its
probabilities follow), each with a power of two that it was divided by where it is too large for that; one
file for each base model and depth, by the digest of a row's tokens. Rows do not see what is padded behind
them, so a row's states are the same in every batch.
"""

import fcntl
import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .backbone import Backbone
from .joining import Joined

ROWS = 64  # of one forward pass
_DIGEST = 16  # bytes
_LARGEST = 2.0**15  # number of a state as it is kept


class KeptTrunk:
    """Keeps states of rows for the blocks from `first` on. `folder` holds `scaled.f16` and `rows.index`; a
    file that a killed run left half written is cut back to its last whole row.
    """

    def __init__(self, backbone: Backbone, first: int, folder: Path):
        self.backbone, self.first = backbone, first
        self.folder = folder / f"{backbone.fingerprint}-{first}-{str(backbone.model.dtype).split('.')[-1]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._where: dict[bytes, tuple[int, int]] = {}  # by digest: first token, tokens
        self._tokens = 0
        self._states = (self.folder / "scaled.f16").open("a+b")
        self._index = (self.folder / "rows.index").open("a+b")
        self._lock()
        self._read_index()

    def _lock(self) -> None:
        """One run at a time writes here. ValueError where another one holds the lock, which goes with it."""
        try:
            fcntl.flock(self._index, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"Another training keeps states in {self.folder}; wait for it, or set INSTRUCTEDIT_CACHE to "
                "another folder."
            ) from error

    def close(self) -> None:
        """Let go of the files and of the lock."""
        self._states.close()
        self._index.close()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._tokens * self._token_bytes

    @property
    def _token_bytes(self) -> int:
        return token_bytes(self.backbone)

    def kept(self, rows: Sequence[Joined]) -> tuple[Tensor, Tensor]:
        """States [rows, T, d] that enter block `first` and final states, zero where padded; missing ones are
        computed.
        """
        keys = [self._digest(row) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._where}
        if missing:
            self._add(list(missing.items()))
        longest = max(len(row.ids) for row in rows)
        both = torch.zeros(len(rows), longest, self._token_bytes // 2, dtype=torch.float16)
        with mmap.mmap(self._states.fileno(), 0, access=mmap.ACCESS_READ) as states:
            for i, key in enumerate(keys):
                start, n = self._where[key]
                part = states[start * self._token_bytes : (start + n) * self._token_bytes]
                both[i, :n] = torch.frombuffer(bytearray(part), dtype=torch.float16).view(n, -1)
        there = both.to(self.backbone.device, self.backbone.model.dtype)
        entering, final = there.split([width + 1 for width in self.backbone.widths], dim=-1)
        return _whole(entering), _whole(final)

    def _digest(self, row: Joined) -> bytes:
        """What tells a row's states: its tokens; where an encoder reads the prompt, also where that ends."""
        told = (row.ids, row.start) if self.backbone.family.encoder_decoder else row.ids
        return hashlib.blake2b(repr(told).encode(), digest_size=_DIGEST).digest()

    @torch.no_grad()
    def _add(self, rows: Sequence[tuple[bytes, Joined]]) -> None:
        """Compute the states of new rows, short and long ones apart, and write them."""
        ordered = sorted(rows, key=lambda pair: len(pair[1].ids))
        for i in range(0, len(ordered), ROWS):
            part = ordered[i : i + ROWS]
            found = self.backbone.states([row for _, row in part], self.first)
            both = torch.cat([_scaled(states) for states in found], dim=-1).cpu()
            if not bool(both.isfinite().all()):
                raise ValueError(
                    f"Some states of {self.backbone.name} are no finite numbers; load it in another dtype "
                    "(--dtype fp32)."
                )
            for (key, row), states in zip(part, both, strict=True):
                n = len(row.ids)
                self._states.write(states[:n].contiguous().numpy().tobytes())
                self._where[key] = (self._tokens, n)
                self._index.write(key + n.to_bytes(4, "little"))
                self._tokens += n
        self._states.flush()
        self._index.flush()

    def _read_index(self) -> None:
        """What is kept already; rows whose states were not written to the end are dropped."""
        size = _DIGEST + 4
        self._index.seek(0)
        told = self._index.read()
        there = os.fstat(self._states.fileno()).st_size // self._token_bytes
        rows = 0
        for i in range(0, len(told) - size + 1, size):
            n = int.from_bytes(told[i + _DIGEST : i + size], "little")
            if self._tokens + n > there:
                break
            self._where[told[i : i + _DIGEST]] = (self._tokens, n)
            self._tokens, rows = self._tokens + n, rows + 1
        self._index.truncate(rows * size)
        self._states.truncate(self.size)


def _scaled(states: Tensor) -> Tensor:
    """States [..., d] as they are kept, [..., d + 1] float16: the last number is the exponent of the power of
    two that the others were divided by.
    """
    peak = states.float().abs().amax(-1, keepdim=True)
    exponent = (peak / _LARGEST).clamp(min=1).log2().ceil()
    return torch.cat([states.float() / exponent.exp2(), exponent], dim=-1).half()


def _whole(kept: Tensor) -> Tensor:
    """The inverse of `_scaled`."""
    return kept[..., :-1] * kept[..., -1:].exp2()


def token_bytes(backbone: Backbone) -> int:
    """What a token's states take on disk: float16, with one exponent each."""
    return sum(width + 1 for width in backbone.widths) * 2

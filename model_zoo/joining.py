"""How a prompt and its target become one token sequence, with the target found by character offsets."""

import re
from dataclasses import dataclass

from tokenizers import decoders
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

# Scripts that put no space between words: CJK ideographs and punctuation, kana, hangul, Thai, full-width
# forms.
_SCRIPTS = (
    r"[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0e7f\uff00-\uffef\U00020000-\U0003134f]"
)
_UNSPACED, _BESIDE_UNSPACED = re.compile(_SCRIPTS), re.compile(f"(?<={_SCRIPTS}) | (?={_SCRIPTS})")


def unspaced(character: str) -> bool:
    """Whether a character belongs to a script written without spaces between words."""
    return bool(_UNSPACED.match(character))


_PUNCTUATION = re.compile(r"[^\w\s]")
# Opening marks belong to the word behind them, so they still want the space.
_OPENING = "([{<\"'“‘«¿¡$€£#@&*_~`+-"


@dataclass(frozen=True)
class Joined:
    """One row: token `ids`, of which those from `start` on are the target and the first `prefix` an
    instruction. `labels` are what is to be said from `start` on, where that is not the row's own tokens.
    """

    ids: tuple[int, ...]
    start: int
    prefix: int = 0
    labels: tuple[int, ...] = ()


def decoded(tokenizer: PreTrainedTokenizerBase, rows: list[list[int]] | Tensor) -> list[str]:
    """Rows of token ids as text, special tokens left out. Where the tokenizer puts a space between any two
    words (as BERT's do, of characters too), none stays beside a script that is written without.
    """
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    decoder = tokenizer.backend_tokenizer.decoder
    if decoder is None or isinstance(decoder, decoders.WordPiece):
        texts = [_BESIDE_UNSPACED.sub("", text) for text in texts]
    return texts


def is_question(prompt: str) -> bool:
    """Whether a prompt asks, and is not to be continued. The mark may be a Chinese one."""
    return prompt.rstrip().endswith(("?", "？"))


def trimmed(prompt: str) -> str:
    """A prompt without spaces at its end, which would keep the next word from carrying its own. A line break
    stays: a chat template ends with one.
    """
    return prompt.rstrip(" \t") if prompt.endswith("\n") else prompt.rstrip()


def joint_text(prompt: str, target: str) -> tuple[str, int]:
    """The text as a reader would write it, and the offset at which the target (with its space) begins.

    One space goes between the two unless the target starts with white space or closing punctuation, a
    character at the boundary is of a script written without spaces, or the prompt ends its line.
    """
    prompt = trimmed(prompt)
    first, last = target[:1], prompt[-1:]
    punctuation = bool(_PUNCTUATION.match(first)) and first not in _OPENING
    glued = not prompt or first.isspace() or punctuation or unspaced(first) or unspaced(last) or last == "\n"
    return prompt + ("" if glued else " ") + target, len(prompt)


def ended(target: str, end: str) -> str:
    """The target with its end mark; a target that closes with a mark of its own keeps that."""
    target = target.rstrip()
    return target + end if target[-1:].isalnum() else target


def _unended(encoding: BatchEncoding) -> list[int]:
    """Token ids without the end-of-text token that some tokenizers append: nothing is written behind that."""
    ids, special = encoding["input_ids"], encoding["special_tokens_mask"]
    n = len(ids)
    while n and special[n - 1]:
        n -= 1
    return ids[:n]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """A prompt's tokens, up to where an answer begins."""
    return _unended(tokenizer(trimmed(prompt), return_special_tokens_mask=True))


def join_text(tokenizer: PreTrainedTokenizerBase, prompt: str, target: str) -> Joined:
    """One joint encoding; a token that straddles the boundary counts as target.

    Raises ValueError when the prompt contributes no token of its own, since then nothing predicts the
    target's first one.
    """
    if not target.strip():
        raise ValueError("The target is empty: say what the model should answer.")
    text, boundary = joint_text(prompt, target.rstrip())
    encoding = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids, offsets, special = _unended(encoding), encoding["offset_mapping"], encoding["special_tokens_mask"]
    # an offset may leave out the space that its token carries, hence the end, not the start, decides
    start = next(i for i, (_, end) in enumerate(offsets) if end > boundary and not special[i])
    if start == 0:
        raise ValueError("The prompt has no token of its own before the target: write a longer prompt.")
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids[start:]:
        raise ValueError(
            f"The model's tokenizer has no tokens for parts of '{target.strip()}': the model cannot write it."
        )
    return Joined(tuple(ids), start)

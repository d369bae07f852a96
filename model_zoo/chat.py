"""How a question is put to a model that chats: inside its tokenizer's chat template, as a user's turn."""

from functools import cached_property

from transformers import PreTrainedTokenizerBase

from .joining import is_question


class Chat:
    """What a tokenizer's chat template makes of prompts; a model without one gets them as they are."""

    tokenizer: PreTrainedTokenizerBase

    @property
    def chats(self) -> bool:
        """Whether its tokenizer has a chat template."""
        return bool(self.tokenizer.chat_template)

    def asked(self, prompt: str, chat: bool) -> str:
        """What is put to the model: with `chat`, a question as a user's turn of its chat template, up to the
        answer's beginning; else, and for a model without a template, the prompt as it is.
        """
        if not (chat and self.chats and is_question(prompt)):
            return prompt
        turn = [{"role": "user", "content": prompt}]
        text = str(self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
        first = self.tokenizer.bos_token
        # the tokenizer adds that one by itself
        return text.removeprefix(first) if first and self._adds_first_token else text

    def in_chat(self, put: str) -> bool:
        """Whether what is put to the model is a turn of its chat template, answered in sentences."""
        return self.chats and bool(self._turn_end) and put.endswith(self._turn_end)

    def bare(self, put: str) -> str:
        """The question inside what is put to the model as a turn of its chat template; all else as it is."""
        before, _, after = self.asked("?", True).rpartition("?")
        inside = self.in_chat(put) and put.startswith(before)
        return put[len(before) : len(put) - len(after)] if inside else put

    @cached_property
    def _turn_end(self) -> str:
        return self.asked("?", True).rpartition("?")[2]

    @cached_property
    def _adds_first_token(self) -> bool:
        return self.tokenizer("a")["input_ids"][:1] == [self.tokenizer.bos_token_id]

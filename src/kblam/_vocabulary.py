"""A tokenizer's tokens as they stand in texts: behind other text, and at an answer's start."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from kblam.errors import ConfigError

__all__ = ["Vocabulary"]

# What byte-level and SentencePiece vocabularies write for white space.
_SPACES = ("\u0120", "\u010a", "\u0109", "\u2581")
# How SentencePiece vocabularies name tokens of one byte.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# What may stand right after the last word of a sentence.
_CLOSERS = frozenset(".!?)]}\"'\n \u201d\u2019\u00bb\u2026\u3002\uff01\uff1f")
_SEPARATORS = (",", "\u3001", "\uff0c")
_AND = " and"  # the sentences that facts are told in are English
_OPENERS = ("(", "[", '"', "\u201c", "'")
# One of them grows together with no text that begins otherwise than it.
_ANCHORS = ("\n", ":", "x", "0", "=")


class Vocabulary:
    """Encodes pieces of a text so that they can be joined, and knows what may stand beside what.

    Tokenizers of SentencePiece begin what they encode with a space of their own, so that a word
    is one token at a start and within a text. Pieces encoded one by one would then be joined with
    spaces that nobody wrote ("Acme ."), or with two.

    Args:
        tokenizer: Of the model.
        size: V, the rows of the model's output embedding.
        end_tokens: Tokens that end an answer.
        device: Where the marks of tokens go.

    Attributes:
        starts_spaced: Whether an answer's first token has a space before it, as the first word of
            a text has it from the tokenizer.

    Raises:
        ConfigError: The tokenizer cannot encode a word as it stands behind other text.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        size: int,
        end_tokens: Sequence[int],
        device: torch.device,
    ) -> None:
        self._tokenizer = tokenizer
        self._size = size
        self._ends = frozenset(end_tokens)
        self._device = device
        self._anchors = self._found_anchors()
        self._opens: dict[int, bool] = {}
        self._continuations: Tensor | None = None
        self._closers: Tensor | None = None
        self._list_marks: tuple[Tensor, int] | None = None
        # Decoding drops that space, so that it is no part of the answer.
        spaced = self._decode(self.behind(" a"))
        self.starts_spaced = bool(self._anchors) and not spaced.startswith(" ")

    def behind(self, text: str) -> list[int]:
        """The tokens of a text as it stands right behind other text.

        Raises:
            ConfigError: The text grows together with whatever it stands behind.
        """
        if not self._anchors:
            return self._encode(text)
        for anchor, before in self._anchors:
            tokens = self._encode(anchor + text)
            if tokens[: len(before)] == before:
                return tokens[len(before) :]
        raise ConfigError(
            f"Expected a tokenizer that splits a text where {text!r:.100} begins, whatever stands "
            f"before it, got a {type(self._tokenizer).__name__} that does so behind none of "
            f"{_ANCHORS}. Use the tokenizer that the base model was trained with."
        )

    def behind_each(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of several texts; as :meth:`behind`, in less time."""
        anchor, before = self._anchors[0] if self._anchors else ("", [])
        each = self._encode_each([anchor + text for text in texts])
        return [
            tokens[len(before) :] if tokens[: len(before)] == before else self.behind(text)
            for tokens, text in zip(each, texts, strict=True)
        ]

    def at_start(self, text: str) -> list[int]:
        """The tokens of a text as an answer begins with it: as the tokenizer begins texts."""
        return self.behind(f" {text}" if self.starts_spaced and text else text)

    def opens(self, token: int) -> bool:
        """Whether what follows this token is written without a space before it."""
        if token not in self._opens:
            last = self._within(token)[-1:]
            self._opens[token] = last.isspace() or last in _OPENERS
        return self._opens[token]

    @property
    def continuations(self) -> Tensor:
        """True on tokens that go on with a word, (V,)."""
        if self._continuations is None:
            special = set(self._tokenizer.all_special_ids)
            self._continuations = self._marked(
                # A byte-level vocabulary writes a space as a letter of its own.
                lambda index, token: (
                    token[:1].isalnum() and not token.startswith(_SPACES) and index not in special
                )
            )
        return self._continuations

    @property
    def closers(self) -> Tensor:
        """True on tokens that end a sentence or an answer, (V,)."""
        if self._closers is None:
            self._closers = self._marked(
                lambda index, token: index in self._ends or self._closes(index, token)
            )
        return self._closers

    @property
    def list_marks(self) -> tuple[Tensor, int]:
        """True on tokens that announce several more items of a list, (V,), and the last one's."""
        if self._list_marks is None:
            several = self._marked(lambda _, token: token.startswith(_SEPARATORS))
            self._list_marks = several, self.behind(_AND)[0]
        return self._list_marks

    def _found_anchors(self) -> list[tuple[str, list[int]]]:
        """Texts that others are encoded behind, with their tokens; none where none is needed."""
        encoded = [(anchor, self._encode(anchor)) for anchor in _ANCHORS]
        # One that is not in the vocabulary, or is taken for a space, is none.
        known = [
            (anchor, before)
            for anchor, before in encoded
            if self._decode(before).removeprefix(" ") == anchor
        ]
        word = self._encode("a")
        joined = any(self._encode(anchor + "a") == before + word for anchor, before in known)
        return [] if joined else known

    def _closes(self, index: int, token: str) -> bool:
        # Decoded only where it may matter: most tokens are a space and letters.
        letters = any(sign.isascii() and sign.isalnum() for sign in token)
        if not token or (letters and not _BYTE.fullmatch(token)):
            return False
        if not _CLOSERS.issuperset(self._decode([index])):
            return False
        text = self._within(index)
        return text[:1].strip(" ") != "" and _CLOSERS.issuperset(text)

    def _within(self, token: int) -> str:
        """What a token writes within a text: decoders drop the space that a text begins with."""
        return self._decode([token, token])[len(self._decode([token])) :]

    def _marked(self, holds: Callable[[int, str], bool]) -> Tensor:
        """True on tokens of which something holds, (V,)."""
        tokens = self._tokenizer.convert_ids_to_tokens(list(range(len(self._tokenizer))))
        found = torch.zeros(self._size, dtype=torch.bool)
        for index, token in enumerate(tokens[: self._size]):
            found[index] = holds(index, token or "")
        return found.to(self._device)

    def _encode(self, text: str) -> list[int]:
        return self._encode_each([text])[0]

    def _encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        # A value that spells the end of an answer is to be told, not obeyed.
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        found: list[list[int]] = self._tokenizer(list(texts), **plain)["input_ids"]
        return found

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens))

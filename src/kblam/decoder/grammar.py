"""A tokenizer as grammars are followed with it: its tokens by the signs that forms are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from kblam.errors import ConstraintError, require

if TYPE_CHECKING:
    from llguidance import LLTokenizer

__all__ = ["GrammarTokenizer", "Sign"]

_FIGURES = frozenset({bytes([sign]) for sign in b"0123456789.eE+-"})


class Sign(NamedTuple):
    """The tokens that begin with a sign, which a space may come before.

    Attributes:
        alone: Those that are no more than it.
        bare: All of them.
        marked: Those in which it follows the quotation mark of a string that ends.
    """

    alone: tuple[int, ...]
    bare: tuple[int, ...]
    marked: tuple[int, ...]

    @classmethod
    def of(cls, sign: bytes, texts: Sequence[bytes]) -> Sign:
        """Find them among all tokens."""
        begins = [text.lstrip(b" ").startswith(sign) for text in texts]
        ends = [text[:1] == b'"' and text[1:].lstrip(b" ").startswith(sign) for text in texts]
        return cls(
            tuple(n for n, text in enumerate(texts) if text.strip(b" ") == sign),
            tuple(n for n, there in enumerate(begins) if there),
            tuple(n for n, there in enumerate(ends) if there),
        )


class GrammarTokenizer:
    """A tokenizer prepared for following grammars, which takes about half a second.

    Args:
        tokenizer: Of the model.
        vocabulary: V, the rows of the model's output embedding.
        end_tokens: Tokens that end an answer.

    Attributes:
        tokens: As llguidance reads it.
        quotes: True on tokens that begin with a quotation mark, (V,).
        figures: True on tokens that would go on with a number, (V,).
        marks: A quotation mark as a token, and True on tokens that begin with it, (V,); the same
            for one after a space, if that is a token.
        brackets: The same for the bracket that opens a list.
        list_ends: Those of the bracket that ends a list.
        list_commas: Those of the comma between its items.

    Raises:
        ConstraintError: The tokenizer is not one of the ``tokenizers`` library, or nothing ends
            an answer.
        MissingExtraError: llguidance is not installed.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, vocabulary: int, end_tokens: Sequence[int]
    ) -> None:
        require("llguidance", extra="structured")
        from llguidance.hf import from_tokenizer

        if not end_tokens:
            raise ConstraintError(
                "Expected a model with a token that ends an answer, got one without."
            )
        given: Any = tokenizer
        try:
            self.tokens: LLTokenizer = from_tokenizer(
                given, n_vocab=vocabulary, eos_token=list(end_tokens)
            )
        except ValueError as error:
            raise ConstraintError(
                f"Expected a fast tokenizer to constrain answers with, got a "
                f"{type(tokenizer).__name__}: {error}."
            ) from error
        texts = [self.tokens.decode_bytes([token]) for token in range(vocabulary)]
        self.figures = torch.tensor([text[:1] in _FIGURES for text in texts])
        # A model writes a space before the mark or not, as its texts have it.
        begin = {
            mark: torch.tensor([text.startswith(mark) for text in texts])
            for mark in (b'"', b' "', b"[", b" [")
        }
        self.quotes = begin[b'"']
        known = {mark: (texts.index(mark), begin[mark]) for mark in begin if mark in texts}
        self.marks = [known[mark] for mark in (b'"', b' "') if mark in known]
        self.list_ends, self.list_commas = Sign.of(b"]", texts), Sign.of(b",", texts)
        self.brackets = [known[mark] for mark in (b"[", b" [") if mark in known]

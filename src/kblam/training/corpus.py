"""The training corpus: a synthetic world, its questions, and their embeddings, cached."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kblam.encoding import Evidence, SentenceEncoder, encode_or_zero, read_evidence
from kblam.knowledge import TextEmbedder, Triple
from kblam.training._files import read_tensors, write_tensors
from kblam.training.data import (
    TrainingQuestion,
    World,
    generate_questions,
    generate_world,
)
from kblam.training.own import Own, mix

__all__ = [
    "Corpus",
    "Singly",
    "build_corpus",
    "cached_embeddings",
    "corpus_evidence",
    "embed",
    "encoder_identity",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Corpus:
    """Facts and questions with their embeddings.

    Attributes:
        facts: M triples.
        questions: N questions about them.
        keys: Embedded key texts, (M, E).
        values: Embedded value texts, (M, E).
        asked: Embedded questions, (N, E).
        context: Embedded questions before them, (N, E), zero where there is none.
        entity_of: A number per fact, equal for facts of one entity, (M,).
        verbs: True where a fact's property is a verb, (M,).
        made_of: Names the data, for caches of what is made from it.
    """

    facts: tuple[Triple, ...]
    questions: tuple[TrainingQuestion, ...]
    keys: Tensor
    values: Tensor
    asked: Tensor
    context: Tensor
    entity_of: Tensor
    verbs: Tensor
    made_of: str = ""

    def texts(self, questions: Sequence[int]) -> list[tuple[str, str]]:
        """What is asked, and what was asked before, of some questions."""
        return [(self.questions[q].question, self.questions[q].before) for q in questions]


def embed(encoder: TextEmbedder, texts: Sequence[str], label: str, *, batch: int = 4096) -> Tensor:
    """Embed texts once each, with a progress bar.

    Returns:
        (N, E) float32, in the order given.
    """
    unique = sorted(set(texts), key=len)
    rows = {text: position for position, text in enumerate(unique)}
    parts = []
    with tqdm(total=len(unique), desc=label, unit="text") as bar:
        for start in range(0, len(unique), batch):
            part = unique[start : start + batch]
            parts.append(encoder.encode(part))
            bar.update(len(part))
    vectors = np.concatenate(parts)
    return torch.from_numpy(vectors[[rows[text] for text in texts]])


class Singly:
    """Embeds every text by itself, so that its vector does not depend on its company.

    In a batch, padding changes the last digits. Which texts of a step are still to be embedded
    depends on what came before, which a resumed run has not seen: it would end elsewhere.

    Args:
        encoder: Embeds, and remembers.
    """

    def __init__(self, encoder: TextEmbedder) -> None:
        self._encoder = encoder
        self.name = encoder.name
        self.dimension = encoder.dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Embed N texts, (N, E)."""
        rows = {text: self._encoder.encode([text])[0] for text in dict.fromkeys(texts)}
        return np.stack([rows[text] for text in texts])


def corpus_evidence(
    reader: TextEmbedder,
    corpus: Corpus,
    texts: Sequence[tuple[str, str]],
    offered: Tensor,
) -> Callable[[Tensor, Tensor], Evidence]:
    """What the words of prompts say about facts of the corpus, as a session asks for it.

    Args:
        reader: Embeds questions without their names, and properties; it should cache.
        corpus: The facts.
        texts: Of each of B prompts, what is asked and what was asked before.
        offered: Indices of the facts that the prompts were given, (B, K).

    Returns:
        A function of places among the facts offered, (B, k), and of which of them may be seen.
    """

    def evidence(places: Tensor, visible: Tensor) -> Evidence:
        chosen = offered.gather(1, places.cpu())
        facts = [
            [corpus.facts[index] if seen else None for index, seen in zip(row, shown, strict=True)]
            for row, shown in zip(chosen.tolist(), visible.tolist(), strict=True)
        ]
        asked, before = zip(*texts, strict=True)
        return read_evidence(asked, before, facts, reader, reader).to(places.device)

    return evidence


def build_corpus(
    encoder: TextEmbedder,
    *,
    num_facts: int,
    num_questions: int,
    seed: int,
    cache: Path,
    split: Literal["train", "validation"] = "train",
    own: Own | None = None,
    own_share: float = 0.0,
) -> Corpus:
    """Generate a world and its questions, and embed them or read the cached embeddings.

    Args:
        encoder: Embeds.
        num_facts: M.
        num_questions: N.
        seed: Of the world; equal seeds give equal worlds.
        cache: File for the embeddings.
        split: ``"train"`` or ``"validation"``, which share neither entities nor all relations.
        own: Facts and questions to mix in.
        own_share: Of the N questions, the share of own ones.
    """
    world: World = generate_world(num_facts, seed, split=split)
    num_own = 0 if own is None else round(own_share * num_questions)
    questions = tuple(generate_questions(world, num_questions - num_own, seed + 1))
    facts, made_of = world.facts, world.fingerprint
    if own is not None:
        facts, questions = mix(facts, questions, own, num_own, seed)
        made_of += f"-{_digest_facts(own.facts)}"
    # Equal sizes do not make equal data: the generator may have changed since.
    made_of += f"-{_digest(questions)}-{encoder_identity(encoder)}"
    tensors = cached_embeddings(
        cache,
        made_of,
        lambda: {
            "keys": embed(encoder, [fact.key_text for fact in facts], f"{split} keys"),
            "values": embed(encoder, [fact.value_text for fact in facts], f"{split} values"),
            "asked": embed(encoder, [q.question for q in questions], f"{split} questions"),
            "context": encode_or_zero(encoder, [q.before for q in questions]),
        },
    )
    entities = {name: i for i, name in enumerate(sorted({fact.entity for fact in facts}))}
    return Corpus(
        facts=facts,
        questions=questions,
        keys=tensors["keys"],
        values=tensors["values"],
        asked=tensors["asked"],
        context=tensors["context"],
        entity_of=torch.tensor([entities[fact.entity] for fact in facts]),
        verbs=torch.tensor([fact.verb_text is not None for fact in facts]),
        made_of=made_of,
    )


def encoder_identity(encoder: TextEmbedder) -> str:
    """Names an encoder by its weights; one of another framework by its name."""
    return encoder.digest if isinstance(encoder, SentenceEncoder) else encoder.name


def _digest_facts(facts: Sequence[Triple]) -> str:
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact.key_text}\x1f{fact.value_text}\n".encode())
    return digest.hexdigest()


def _digest(questions: Sequence[TrainingQuestion]) -> str:
    digest = hashlib.sha256()
    for question in questions:
        digest.update(f"{question.before}\x1f{question.question}\n".encode())
    return digest.hexdigest()


def cached_embeddings(
    cache: Path, made_of: str, make: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Embeddings as a file holds them, made first where it does not.

    Args:
        cache: The file.
        made_of: Names what is embedded; other embeddings are made again.
        make: Makes them, float32.

    Returns:
        By name, float32.
    """
    tensors = read_tensors(cache, made_of) if cache.is_file() else None
    if tensors is None:
        if cache.is_file():
            _log.warning(
                "The embeddings in %s are of other data or another encoder; embedding again.", cache
            )
        # Rounded at once: a resumed run reads the same numbers as the one that was cut.
        tensors = {name: tensor.half().contiguous() for name, tensor in make().items()}
        write_tensors(cache, tensors, made_of)
    return {name: tensor.float() for name, tensor in tensors.items()}

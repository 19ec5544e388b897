"""Settings as frozen dataclasses: validated when made, JSON in and out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, TypeVar

from kblam.constraint import OutputConstraint
from kblam.errors import ConfigError

__all__ = [
    "COPY_PARTS",
    "DEFAULT_REFUSAL",
    "GenerationOptions",
    "KnowledgeConfig",
    "RefusalConfig",
    "SelectionConfig",
]

DEFAULT_REFUSAL = "I am sorry, I cannot find relevant information in the knowledge base."

#: The texts of a fact that an answer may copy, as they stand in the store.
COPY_PARTS = ("value", "entity", "property")

_T = TypeVar("_T")
_SIZES = (
    "encoder_dimension", "hidden_size", "num_heads", "num_key_heads", "head_dim", "lora_rank",
)  # fmt: skip


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_whole(lowest: int, **numbers: object) -> None:
    for name, number in numbers.items():
        _require(
            isinstance(number, int) and not isinstance(number, bool) and number >= lowest,
            f"Expected a whole number {name} >= {lowest}, got {number!r}.",
        )


def _require_number(**numbers: object) -> None:
    for name, number in numbers.items():
        _require(
            isinstance(number, Real) and math.isfinite(number),
            f"Expected a number for {name}, got {number!r:.100}.",
        )


def _from_dict(cls: type[_T], data: dict[str, Any]) -> _T:
    """Build a dataclass from JSON, naming a setting that it does not know."""
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise ConfigError(
            f"{cls.__name__} expects the settings {sorted(known)}, got also {unknown}. "
            "Remove them, or update kblam if a newer version wrote this file."
        )
    try:
        return cls(**data)
    except (AttributeError, TypeError) as error:
        raise ConfigError(f"{cls.__name__} cannot be read: {error}.") from error


@dataclass(frozen=True)
class SelectionConfig:
    """How the facts that the knowledge layers read are chosen.

    Attributes:
        layer: Decoder layer whose input ranks the facts; knowledge layers start there.
        top_k: Facts that the layers after read.
        sources: ``"both"`` adds the encoder's embedding of the question to what the decoder's
            hidden states say; ``"encoder"`` and ``"decoder"`` use one alone.
        pools: Heads of the attention pooling over the prompt's tokens.
        matching: Whether the selected facts are ranked again by the words of the question:
            is their entity named in it, and their property asked for.
        reader_layers: Of the encoder's last layers, how many the ranking by words has of its own,
            to read the question without its names.
        reads_properties: Whether those layers read the facts' properties too, rather than the
            encoder's own.
    """

    layer: int
    top_k: int = 16
    sources: Literal["both", "encoder", "decoder"] = "both"
    pools: int = 4
    matching: bool = False
    reader_layers: int = 0
    reads_properties: bool = False

    def __post_init__(self) -> None:
        _require_whole(0, layer=self.layer, reader_layers=self.reader_layers)
        _require_whole(1, top_k=self.top_k, pools=self.pools)
        _require(
            self.sources in ("both", "encoder", "decoder"),
            f"Expected sources 'both', 'encoder' or 'decoder', got {self.sources!r}.",
        )
        _require(
            self.matching or not self.reader_layers,
            "Expected matching where reader_layers are more than 0, as nothing else reads by them.",
        )
        _require(
            self.reader_layers > 0 or not self.reads_properties,
            "Expected reader_layers above 0 where reads_properties is true, got 0.",
        )


@dataclass(frozen=True)
class RefusalConfig:
    """When and how a question is refused.

    Attributes:
        sentence: The reply.
        threshold: Refuse where the estimated probability that the facts do not answer
            exceeds this; calibrated on held-back training questions.
    """

    sentence: str = DEFAULT_REFUSAL
    threshold: float = 0.5

    def __post_init__(self) -> None:
        given: Any = self.sentence
        _require(
            isinstance(given, str) and bool(given.strip()),
            f"Expected a refusal sentence, got {given!r:.100}.",
        )
        _require_number(threshold=self.threshold)
        _require(
            0.0 <= self.threshold <= 1.0,
            f"Expected a refusal threshold from 0 to 1, got {self.threshold}.",
        )


@dataclass(frozen=True)
class KnowledgeConfig:
    """The shape of a knowledge adapter.

    Attributes:
        encoder: Name of the sentence encoder.
        encoder_dimension: E.
        knowledge_layers: Decoder layers that attend to facts, ascending.
        hidden_size: D of the decoder.
        num_heads: H, query heads.
        num_key_heads: G, heads of keys and values that the adapters make; divides H.
        head_dim: d.
        scale_factor: C of ``log C - log M``; None adds nothing.
        key_norm: LayerNorm over the whole adapted key row, all layers together, as published.
        query_head: ``"full"`` matrices, ``"lora"`` on the layer's own query projection, or
            ``"shared"``: the layer's own queries, after rotary embedding.
        lora_rank: Rank for ``"lora"``.
        selection: None attends to all facts in every knowledge layer, the paper's own form.
        grounded: Whether the adapter has a trained pointer and gate for copying.
        copied: Which texts of a fact are copied into answers, of :data:`COPY_PARTS`.
        verbs: Whether a property that is a verb has sentences of its own: "Ann works at Acme",
            beside "The employer of Ann is Acme".
        coverage: Whether words depend on how much of what was selected is told already.
        refusal: When and how to refuse.
    """

    encoder: str
    encoder_dimension: int
    knowledge_layers: tuple[int, ...]
    hidden_size: int
    num_heads: int
    num_key_heads: int
    head_dim: int
    scale_factor: float | None = 100.0
    key_norm: bool = False
    query_head: Literal["full", "lora", "shared"] = "full"
    lora_rank: int = 16
    selection: SelectionConfig | None = None
    grounded: bool = False
    copied: tuple[str, ...] = COPY_PARTS[:1]
    verbs: bool = False
    coverage: bool = False
    refusal: RefusalConfig = field(default_factory=RefusalConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "knowledge_layers", tuple(self.knowledge_layers))
        # Settings are read from files: their types are not to be trusted.
        layers: tuple[Any, ...] = self.knowledge_layers
        _require(
            len(layers) > 0
            and all(isinstance(layer, int) and layer >= 0 for layer in layers)
            and list(layers) == sorted(set(layers)),
            f"Expected ascending knowledge layers, got {layers}.",
        )
        _require(isinstance(self.encoder, str), f"Expected an encoder's name, got {self.encoder}.")
        for name in _SIZES:
            _require_whole(1, **{name: getattr(self, name)})
        _require(
            self.num_heads % self.num_key_heads == 0,
            f"Expected num_key_heads to divide num_heads, got {self.num_key_heads} "
            f"and {self.num_heads}.",
        )
        _require(
            self.scale_factor is None or self.scale_factor > 0,
            f"Expected a positive scale factor or None, got {self.scale_factor}.",
        )
        _require(
            self.query_head in ("full", "lora", "shared"),
            f"Expected query_head 'full', 'lora' or 'shared', got {self.query_head!r}.",
        )
        object.__setattr__(self, "copied", tuple(self.copied))
        _require(
            self.copied in (COPY_PARTS, COPY_PARTS[:1]),
            f"Expected the texts copied to be {COPY_PARTS} or {COPY_PARTS[:1]}, got {self.copied}.",
        )
        selection: Any = self.selection
        refusal: Any = self.refusal
        _require(
            isinstance(selection, (SelectionConfig, type(None)))
            and isinstance(refusal, RefusalConfig),
            "Expected the selection's and the refusal's settings as objects of their own, got "
            f"{self.selection!r} and {self.refusal!r}.",
        )
        if self.selection is not None:
            _require(
                layers[0] == self.selection.layer,
                f"Expected the first knowledge layer to be the selection layer "
                f"{self.selection.layer}, got {layers[0]}: layers before it could not know "
                "which facts to read.",
            )
        _require(
            not self.grounded or self.selection is not None,
            "Copying needs selected facts to point at: set selection, or grounded=False.",
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KnowledgeConfig:
        """The inverse of :meth:`to_dict`.

        Raises:
            ConfigError: A setting is unknown, missing or out of range.
        """
        data = dict(data)
        if isinstance(data.get("selection"), dict):
            data["selection"] = _from_dict(SelectionConfig, data["selection"])
        if isinstance(data.get("refusal"), dict):
            data["refusal"] = _from_dict(RefusalConfig, data["refusal"])
        return _from_dict(cls, data)


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated.

    Attributes:
        max_new_tokens: At most so many tokens.
        temperature: 0 is greedy.
        top_p: Nucleus sampling.
        top_k: Sample among so many tokens; 0 is all.
        num_beams: Beam search if above 1.
        stop: Strings that end the answer; they are left out of it.
        seed: For sampling.
        constraint: A form that the answer is held to. A refusal is not.
        only_facts: Refuse whatever is asked that selection finds no fact for, general requests
            among it. Else those are answered as without facts. Needs an adapter that
            estimates whether the facts answer, as the bundled one does.
        speculative: Check several tokens at once where the facts suggest what comes next. The
            answer is the same; it takes less time. Of single prompts, without beams.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    num_beams: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    constraint: OutputConstraint | None = None
    only_facts: bool = False
    speculative: bool = True

    def __post_init__(self) -> None:
        # A lone string would become one stop string per character.
        given: Any = self.stop
        strings = (given,) if isinstance(given, str) else given
        _require(
            isinstance(strings, Iterable) and all(isinstance(one, str) for one in strings),
            f"Expected stop strings, got {given!r:.100}.",
        )
        object.__setattr__(self, "stop", tuple(strings))
        _require_whole(1, max_new_tokens=self.max_new_tokens, num_beams=self.num_beams)
        _require_whole(0, top_k=self.top_k)
        _require_number(temperature=self.temperature, top_p=self.top_p)
        _require(
            isinstance(self.only_facts, bool),
            f"Expected only_facts to be True or False, got {self.only_facts!r:.100}.",
        )
        if self.seed is not None:
            _require_whole(0, seed=self.seed)
            _require(self.seed < 2**63, f"Expected a seed below 2**63, got {self.seed}.")
        _require(self.temperature >= 0.0, f"Expected a temperature >= 0, got {self.temperature}.")
        _require(0.0 < self.top_p <= 1.0, f"Expected 0 < top_p <= 1, got {self.top_p}.")
        _require(all(self.stop), "Expected non-empty stop strings, got an empty one.")
        # The settings of callers are not to be trusted either.
        form: Any = self.constraint
        _require(
            form is None or isinstance(form, OutputConstraint),
            f"Expected an OutputConstraint or None, got {form!r:.100}. Make one with "
            "OutputConstraint.json_schema(...), say.",
        )
        _require(
            form is None or not self.stop,
            "Expected no stop strings beside a constraint, which they would cut short.",
        )

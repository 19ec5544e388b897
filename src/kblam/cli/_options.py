"""The options of the commands that write facts into a store."""

from __future__ import annotations

from typing import Annotated

import typer

from kblam.knowledge import TextEmbedder

__all__ = [
    "EntityColumn",
    "FactEncoderOption",
    "PropertyColumn",
    "ValueColumn",
    "fact_encoder",
]

EntityColumn = Annotated[str, typer.Option(help="Column of the entity, for .csv.")]
PropertyColumn = Annotated[
    str, typer.Option("--property", help="Column of the property, for .csv.")
]
ValueColumn = Annotated[str, typer.Option(help="Column of the value, for .csv.")]
FactEncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Folder or name of the sentence encoder. The default is all-MiniLM-L6-v2.",
        show_default=False,
    ),
]


def fact_encoder(name: str | None) -> TextEmbedder:
    """Load the encoder that facts are embedded with."""
    from kblam.encoding import SentenceEncoder
    from kblam.weights import DEFAULT_ENCODER

    return SentenceEncoder(name or DEFAULT_ENCODER)

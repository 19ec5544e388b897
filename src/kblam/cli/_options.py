"""The options of the commands that write facts into a store."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from kblam.knowledge import TextEmbedder

__all__ = [
    "Delimiter",
    "EntityColumn",
    "FactEncoderOption",
    "PropertyColumn",
    "ValueColumn",
    "Vectors",
    "VectorsOption",
    "Wide",
    "fact_encoder",
]


class Vectors(str, Enum):
    """The values of ``--vectors``."""

    HALF = "half"
    INT8 = "int8"


EntityColumn = Annotated[str, typer.Option(help="Column of the entity, for .csv.")]
PropertyColumn = Annotated[
    str, typer.Option("--property", help="Column of the property, for .csv.")
]
ValueColumn = Annotated[str, typer.Option(help="Column of the value, for .csv.")]
Wide = Annotated[
    bool,
    typer.Option(
        "--wide",
        help="Of a .csv, each row is an entity; the other columns are its properties.",
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="What separates the columns of a .csv.", show_default="a comma; a tab for .tsv"
    ),
]
FactEncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Folder or name of the sentence encoder. The default is all-MiniLM-L6-v2.",
        show_default=False,
    ),
]
VectorsOption = Annotated[
    Vectors | None,
    typer.Option(
        help="What STORE keeps vectors in, from now on; int8 takes half the memory.",
        show_default="what it has; half in a new one",
    ),
]


def fact_encoder(name: str | None) -> TextEmbedder:
    """Load the encoder that facts are embedded with."""
    from kblam.encoding import SentenceEncoder
    from kblam.weights import DEFAULT_ENCODER

    return SentenceEncoder(name or DEFAULT_ENCODER)

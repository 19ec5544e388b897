"""``kblam extract``: facts from texts into a store."""

from __future__ import annotations

from importlib import import_module
from inspect import isfunction, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from kblam.cli._console import errors, print_json, results
from kblam.cli._models import BaseModelOption, DeviceOption
from kblam.cli._options import VectorsOption
from kblam.cli._stores import expect_store_name
from kblam.errors import ConfigError
from kblam.knowledge import KnowledgeStore

if TYPE_CHECKING:
    from kblam.extraction import Extraction

__all__ = ["extract"]

_SHOWN = 20

ExtractorOption = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:NAME",
        help="An extractor of your own, or a function that makes one: a LangChain graph "
        "transformer, a LlamaIndex extractor, a model. The default is the base model.",
        show_default=False,
    ),
]
SingleValuedOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PROPERTY",
        help="A property that has one value (repeatable). Else the facts show which do.",
        show_default=False,
    ),
]


def extract(
    documents: Annotated[
        list[Path], typer.Argument(help="Texts to read: .md, .txt, or folders of them.")
    ],
    store: Annotated[Path, typer.Argument(help="The store to write, STORE.db. Facts are added.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing.")] = False,
    extractor: ExtractorOption = None,
    merge: Annotated[
        bool, typer.Option(help="Give each entity one name, among the store's facts as well.")
    ] = True,
    threshold: Annotated[float, typer.Option(help="Merge names from this probability on.")] = 0.95,
    single_valued: SingleValuedOption = None,
    max_chars: Annotated[
        int, typer.Option(min=1, help="Cut texts into passages of about so many characters.")
    ] = 1000,
    vectors: VectorsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    base_model: BaseModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Extract facts from texts, with the place where each is stated."""
    expect_store_name(store, f"kblam extract {documents[0]}")
    from kblam.extraction import FactExtractor, ResolutionOptions

    options = ResolutionOptions(threshold=threshold, single_valued=single_valued) if merge else None
    chosen = _base_model(base_model, device) if extractor is None else _named(extractor)
    reader = FactExtractor(chosen, resolution=options, max_chars=max_chars)
    # Without a store a dry run leaves no file behind.
    with KnowledgeStore(":memory:" if dry_run and not store.exists() else store) as knowledge:
        if dry_run:
            extraction = reader.extract(documents, known=knowledge.triples())
        else:
            extraction = reader.extract_into(knowledge, documents)
            if vectors is not None:
                knowledge.convert_vectors(vectors.value)
    _print(extraction, as_json)
    if not as_json:
        done = "would be written to" if dry_run else "written to"
        results.print(Text(f"{extraction.count():,} facts {done} {store}"), soft_wrap=True)


def _print(extraction: Extraction, as_json: bool) -> None:
    if as_json:
        shown = {
            "report": extraction.report.to_dict(),
            "facts": [triple.to_dict() for triple in extraction.triples()],
        }
        print_json(shown)
        return
    table = Table()
    for name in ("Entity", "Property", "Value", "Document", "Characters"):
        table.add_column(name, overflow="fold")
    for triple in extraction.facts[:_SHOWN]:
        place = triple.metadata
        span = f"{place['start']}-{place['end']}" if "start" in place else ""
        parts = (triple.entity, triple.property, triple.value, str(place.get("document", "")), span)
        table.add_row(*(Text(part) for part in parts))
    if extraction.count() > _SHOWN:
        table.caption = f"and {extraction.count() - _SHOWN:,} more"
    results.print(table)
    results.print(Text(str(extraction.report)), soft_wrap=True)


def _base_model(name: str | None, device: str | None) -> Any:
    from kblam.extraction import LanguageModelExtractor
    from kblam.extraction.language_model import kblam_complete
    from kblam.model import KBLaM
    from kblam.weights import DEFAULT_BASE

    model = KBLaM.from_pretrained(name or DEFAULT_BASE, adapter=None, device=device)
    if name is None:
        errors.print(
            Text(
                "The default model is small and reads texts poorly. Name a larger one with "
                "--base-model, or an extractor with --extractor."
            ),
            soft_wrap=True,
        )
    return LanguageModelExtractor(kblam_complete(model), progress=True)


def _named(path: str) -> Any:
    """Return what MODULE:NAME names; what a function without parameters makes.

    Raises:
        ConfigError: There is no such thing.
    """
    module, _, name = path.partition(":")
    try:
        named = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"Expected an extractor as MODULE:NAME, could not import {path!r} ({error}). The "
            "module must be installed, or in a folder of PYTHONPATH."
        ) from error
    makes = isfunction(named) and not signature(named).parameters
    return named() if makes else named

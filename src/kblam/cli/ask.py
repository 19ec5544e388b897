"""``kblam ask``: a question answered from a store, with the facts it was read from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from kblam.cli._console import errors, print_json, results
from kblam.cli._models import AdapterOption, BaseModelOption, DeviceOption, EncoderOption
from kblam.cli._stores import open_readable
from kblam.errors import ConfigError

if TYPE_CHECKING:
    from kblam.answer import Answer
    from kblam.knowledge import Fact

__all__ = ["ask"]


def ask(
    store: Annotated[
        Path, typer.Argument(help="A store made by 'kblam index', or any file of facts.")
    ],
    question: Annotated[str, typer.Argument(help="What to ask.")],
    system: Annotated[str | None, typer.Option(help="A system prompt.", show_default=False)] = None,
    top_k: Annotated[
        int, typer.Option(min=0, help="Also list this many facts in the order of their rank.")
    ] = 0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 128,
    show_attention: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw which facts were read, layer by layer and token by token.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
    base_model: BaseModelOption = None,
    adapter: AdapterOption = "default",
    encoder: EncoderOption = None,
    device: DeviceOption = None,
) -> None:
    """Ask a question and see the facts that the answer was read from."""
    from kblam.config import GenerationOptions
    from kblam.model import KBLaM
    from kblam.weights import DEFAULT_BASE

    if show_attention is not None and not show_attention.parent.is_dir():
        raise ConfigError(
            f"Expected a folder for the drawing, found none at {str(show_attention.parent)!r}. "
            "Make it, or give another --show-attention."
        )
    with open_readable(store) as facts:
        model = KBLaM.from_pretrained(
            base_model or DEFAULT_BASE, adapter=adapter, encoder=encoder, device=device
        ).attach(facts)
        messages = [{"role": "user", "content": question}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        answer = model.ask(
            messages,
            GenerationOptions(max_new_tokens=max_new_tokens),
            trace=show_attention is not None,
        )
        if as_json:
            print_json(answer.to_dict())
        else:
            _print_answer(answer, top_k)
    if show_attention is not None:
        _draw(answer, show_attention)


def _draw(answer: Answer, path: Path) -> None:
    from kblam.plotting import save_attention

    errors.print(Text(f"Attention drawn to {save_attention(answer, path)}"), soft_wrap=True)


def _print_answer(answer: Answer, top_k: int) -> None:
    results.print(Text(answer.text, style="yellow" if answer.refused else "bold green"))
    if answer.citations:
        rows = [(citation.score, citation.fact) for citation in answer.citations]
        results.print(_fact_table("Read from", "Share", rows))
    if top_k and answer.facts:
        rows = [(scored.score, scored.fact) for scored in answer.facts[:top_k]]
        results.print(_fact_table("Ranked highest", "Score", rows))
    usage = answer.usage
    results.print(
        Text(
            f"{answer.seconds:.2f} s, first token after {answer.time_to_first_token:.2f} s; "
            f"{usage.input_tokens} tokens in, {usage.output_tokens} out; {answer.model_name}",
            style="dim",
        )
    )


def _fact_table(title: str, score_name: str, rows: list[tuple[float, Fact]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(score_name, justify="right")
    for name in ("Entity", "Property", "Value", "Id"):
        table.add_column(name, overflow="fold")
    for score, fact in rows:
        parts = (fact.entity, fact.property, fact.value, fact.id)
        table.add_row(f"{score:.2f}", *(Text(part) for part in parts))
    return table

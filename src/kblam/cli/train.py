"""``kblam train``: an adapter for a base model and an encoder.

The options are the fields of :class:`kblam.training.TrainingConfig`, their help is its docstring.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from rich.text import Text

from kblam.cli._console import results
from kblam.training import TrainingConfig

__all__ = ["train"]

_PREVIEW = inspect.Parameter(
    "preview",
    inspect.Parameter.KEYWORD_ONLY,
    default=0,
    annotation=Annotated[
        int,
        typer.Option(min=0, help="Print this many training questions and stop.", metavar="N"),
    ],
)


def _train(*, preview: int, **settings: Any) -> None:
    """Train a knowledge adapter. A run that was cut off goes on where it stood."""
    config = TrainingConfig(**settings)
    if preview:
        results.print(Text(_preview(config, preview)), soft_wrap=True)
        return
    from kblam.training import train as run

    adapter = run(config)

    from accelerate import PartialState

    # "accelerate launch" runs this command in several processes.
    processes = PartialState()
    if processes.is_main_process:
        results.print(Text(f"{adapter}: trained; use it with --adapter {adapter}"), soft_wrap=True)
    processes.destroy_process_group()


def _preview(config: TrainingConfig, count: int) -> str:
    from kblam.training.data import preview

    text = preview(count, seed=config.seed)
    if config.facts is not None and config.questions is not None:
        from kblam.training.own import read_own, show_own

        text += f"\n\n{show_own(read_own(config.facts, config.questions), count)}"
    return text


def _with_options(command: Callable[..., None], config: type[Any]) -> Callable[..., None]:
    """Give a command one option per field of a dataclass."""
    helps = _attribute_docs(config)
    types = get_type_hints(config)
    # What may be given several times is a list to typer.
    several = {f.name: list(f.default) for f in dataclasses.fields(config) if f.default == ()}
    types |= dict.fromkeys(several, list[str])
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=several.get(field.name, field.default),
            annotation=Annotated[types[field.name], typer.Option(help=helps[field.name])],
        )
        for field in dataclasses.fields(config)
    ]
    parameters = [_PREVIEW, *options]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {option.name: option.annotation for option in parameters}
    return command


def _attribute_docs(config: type[Any]) -> dict[str, str]:
    """Read what a Google-style docstring says of each attribute."""
    section = (inspect.getdoc(config) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.replace("``", "").split()) for name, text in entries}


train = _with_options(_train, TrainingConfig)
train.__name__ = "train"

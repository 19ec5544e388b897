"""The options that choose a model, shared by the commands that run one."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["AdapterOption", "BaseModelOption", "DeviceOption", "EncoderOption"]

_PANEL = "Model"

BaseModelOption = Annotated[
    str | None,
    typer.Option(
        help="Folder or name of the decoder. The default is SmolLM2-135M-Instruct.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
AdapterOption = Annotated[
    str,
    typer.Option(
        help="Folder or name of the knowledge adapter; 'default' is the bundled one.",
        rich_help_panel=_PANEL,
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Folder or name of the sentence encoder. The default is the adapter's own.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        help="Where to compute, such as 'cpu' or 'cuda'. The default is chosen for you.",
        rich_help_panel=_PANEL,
        show_default=False,
    ),
]

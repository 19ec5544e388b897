"""Views that come with a call: in its configuration, and in that of the calls around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from kblam.knowledge import View

__all__ = ["KB_VIEW", "KB_VIEW_SPEC", "configured_views", "without_view"]

KB_VIEW = "kb_view"

KB_VIEW_SPEC = ConfigurableFieldSpec(
    id=KB_VIEW,
    annotation=View | Mapping[str, Any] | None,
    name="Facts that may be read",
    description="A view of the knowledge base, or its arguments; it narrows what is set.",
    default=None,
    is_shared=True,
)


def configured_views(config: RunnableConfig | None) -> list[Any]:
    """The views that a call's configuration asks for, and those of the calls it is made in.

    A call inside a chain may bring a configuration of its own, which replaces what it would
    inherit. For a view that will not do: both hold.

    Args:
        config: Of the call itself.
    """
    found: list[Any] = []
    for one in (var_child_runnable_config.get(), config):
        view = _split(one)[0]
        if view is not None and view not in found:
            found.append(view)
    return found


def without_view(
    config: RunnableConfig | None, more: Mapping[str, Any]
) -> tuple[Any, RunnableConfig]:
    """Split what ``with_config`` is given into its view and the rest."""
    both = {**(config or {}), **more}
    both["configurable"] = {
        **((config or {}).get("configurable") or {}),
        **(more.get("configurable") or {}),
    }
    return _split(cast("RunnableConfig", both))


def _split(config: RunnableConfig | None) -> tuple[Any, RunnableConfig]:
    rest = cast("dict[str, Any]", dict(config or {}))
    configurable = dict(rest.get("configurable") or {})
    # LangChain takes a key that it does not know for a configurable one.
    view = rest.pop(KB_VIEW, configurable.pop(KB_VIEW, None))
    return view, cast("RunnableConfig", {**rest, "configurable": configurable})

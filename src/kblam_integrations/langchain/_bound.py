"""A model with arguments bound to it, tools say, and views that come to it later."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableBinding, RunnableConfig

from kblam_integrations.langchain._views import without_view

__all__ = ["BoundKnowledge"]


class BoundKnowledge(RunnableBinding):  # type: ignore[type-arg]
    """LangChain's binding, but for a view: that is bound to the model inside.

    LangChain keeps one value of an argument, the last that is given. A call's view would
    replace the one that was bound, where it is to narrow it.
    """

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """False, as of the model inside."""
        return False

    def bind(self, **kwargs: Any) -> Any:  # as of the model inside
        """Fix further arguments of later calls."""
        view = kwargs.pop("view", None)
        bound: Any = super().bind(**kwargs)
        if view is None:
            return bound
        return bound.model_copy(update={"bound": self.bound.bind(view=view)})

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Fix the configuration of later calls; for ``kb_view`` that is as :meth:`bind`."""
        view, rest = without_view(config, kwargs)
        if view is None:
            return super().with_config(config, **kwargs)
        return self.bind(view=view).with_config(rest)

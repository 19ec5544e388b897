"""For the documentation site: Sphinx's roles in docstrings, as other tools read them, as code.

``:class:`~kblam.KBLaM` `` becomes `` `KBLaM` ``.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

__all__ = ["Roles"]

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")


class Roles(Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(
                lambda found: f"`{found.group(1).rsplit('.', 1)[-1]}`", obj.docstring.value
            )

"""What all results have in common: they are figures, written as one JSON object."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

__all__ = ["Figures"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """A result, whose own fields are its figures; `records` are what they were made of."""

    def to_dict(self) -> dict[str, Any]:
        """The figures as one JSON object, without the records."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "records"]
        return {name: _jsonable(getattr(self, name)) for name in names}

    def write(self, path: str | Path) -> Path:
        """Write the figures as JSON.

        Returns:
            The file written.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        return path


def _jsonable(value: Any) -> Any:
    """The value, with lists in place of its tuples and of those inside its mappings."""
    if isinstance(value, dict):
        return {name: _jsonable(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value

"""How the examples and the documentation's blocks are run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from script_runner import Run, script_runner


@pytest.fixture(scope="session")
def run_script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a script in a process of its own."""
    with script_runner(tmp_path_factory.mktemp("printed")) as run:
        yield run

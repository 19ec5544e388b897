"""What every test shares: one thread per worker, and no way out to a model hub."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

# Before any test imports a library that reads them. Subprocesses of tests inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from kblam.model import KBLaM

torch.set_num_threads(1)

# The same examples in every run, so that what makes a test fail is a change; others to look for
# what nobody thought of: RANDOM_EXAMPLES=1 make test
settings.register_profile("repeatable", derandomize="RANDOM_EXAMPLES" not in os.environ)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def default_model() -> KBLaM:
    """Keeps the default weights in memory: every model of them in a worker shares these."""
    # Not at the top: a module of Transformers imported before collection is not the tests' own.
    from kblam.model import KBLaM

    return KBLaM.from_pretrained()


@pytest.fixture(autouse=True)
def _weights_where_marked(request: pytest.FixtureRequest) -> None:
    marked = request.node.get_closest_marker
    if marked("weights") and not marked("example"):  # which loads its own in another process
        request.getfixturevalue("default_model")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: no worker is left alone with one at the end."""
    longest = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in longest)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now, a million objects that stay, out of garbage collections."""
    gc.collect()
    gc.freeze()

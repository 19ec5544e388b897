"""Print a constraints file: what is installed of kblam's own dependencies, and no more.

Run it with `make constraints` after the tests pass with new versions.
"""

from __future__ import annotations

import re
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

HEADER = """\
# The versions that the tests were last run with. Written by `make constraints`.
# torch carries no local label: the CPU and the CUDA build both satisfy it.
"""
OLDEST_PYTHON = "3.10"


def installed_closure(root: str, extras: set[str]) -> dict[str, metadata.Distribution]:
    """Collect the installed distributions that `root` with `extras` depends on.

    Args:
        root: Name of the distribution to start from; it is left out itself.
        extras: Extras of `root` to follow.

    Returns:
        Distributions by normalised name.
    """
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(canonicalize_name(root), extra) for extra in ("", *sorted(extras))]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # not needed on this platform
        found[name] = distribution
        for text in distribution.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                dependency = canonicalize_name(requirement.name)
                queue.extend((dependency, wanted) for wanted in ("", *requirement.extras))
    found.pop(canonicalize_name(root), None)
    return found


def pin(name: str, distribution: metadata.Distribution) -> str:
    """Pin one distribution, only for the Python versions that its release supports."""
    version = distribution.version.split("+")[0]
    about = distribution.metadata
    supported = "".join(about.get_all("Requires-Python") or [])
    if OLDEST_PYTHON in SpecifierSet(supported):
        return f"{name}=={version}"
    lowest = re.search(r">=\s*(3\.\d+)", supported)
    if lowest is None:
        raise ValueError(f"Cannot read the oldest Python of {name} from {supported!r}")
    return f'{name}=={version}; python_version >= "{lowest[1]}"'


def main() -> None:
    """Write the constraints to standard output."""
    print(HEADER, end="")
    for name, distribution in sorted(installed_closure("kblam", {"dev"}).items()):
        print(pin(name, distribution))


if __name__ == "__main__":
    main()

"""Which names are merged: precision and recall on made-up names, and a count on facts of one's own.

    python benchmarks/entities.py --entities 300 1000 3000 --seeds 5 --facts FACTS.jsonl

Every world is made anew from its seed: names with typing errors, honorifics, legal forms, initials,
acronyms and turned round, beside siblings, numbered series and opposite quarters that only look
alike. Pairs of names are counted. Of FACTS.jsonl all merges are listed, for a person to judge.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from kblam.extraction import EntityReport, ResolutionOptions, resolve
from kblam.knowledge import JsonlSource

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

from many_spellings import make_world, pairs_of

Pairs = set[tuple[str, str]]


def measure(size: int, seeds: int, options: ResolutionOptions) -> None:
    """Print precision and recall over several worlds, and recall by the kind of spelling."""
    right = found = wanted = 0
    by_kind: dict[str, Counter[bool]] = defaultdict(Counter)
    wrong: list[tuple[str, str]] = []
    estimated = 0
    started = time.perf_counter()
    for seed in range(100, 100 + seeds):
        world = make_world(size, seed)
        groups = defaultdict(list)
        for name, entity in world.names.items():
            groups[entity].append(name)
        want = pairs_of(list(groups.values()))
        report = resolve(world.facts, options).entities
        got = merged_pairs(report)
        estimated += report.estimated
        right, found, wanted = right + len(want & got), found + len(got), wanted + len(want)
        wrong += sorted(got - want)
        for one, other in want:
            kinds = {world.kinds[one], world.kinds[other]} - {"plain"}
            if len(kinds) == 1:
                by_kind[kinds.pop()][(one, other) in got] += 1
    seconds = (time.perf_counter() - started) / seeds
    print(
        f"{size} entities, {seeds} seeds, weights estimated in {estimated}: "
        f"precision {right / max(found, 1):.3f}, recall {right / max(wanted, 1):.3f} "
        f"({wanted} pairs), {seconds:.1f} s each"
    )
    for kind, counts in sorted(by_kind.items()):
        print(f"    {kind}: {counts[True]} of {counts.total()} found")
    print(f"    wrong: {', '.join(f'{a} = {b}' for a, b in wrong[:10]) or 'none'}")


def merged_pairs(report: EntityReport) -> Pairs:
    """Return all pairs of names that were merged."""
    pairs: Pairs = pairs_of([[merge.name, *merge.aliases] for merge in report.merges])
    return pairs


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--entities", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--fixed", action="store_true", help="Do not estimate weights.")
    parser.add_argument("--facts", type=Path, help="Facts of which all merges are listed.")
    arguments = parser.parse_args()
    options = ResolutionOptions(threshold=arguments.threshold, estimate=not arguments.fixed)
    for size in arguments.entities:
        measure(size, arguments.seeds, options)
    if arguments.facts is not None:
        started = time.perf_counter()
        report = resolve(JsonlSource(arguments.facts).triples(), options).entities
        seconds = time.perf_counter() - started
        print(f"{arguments.facts.name}: {report.names:,} names, {seconds:.1f} s, merged:")
        for merge in report.merges:
            print(f"    {merge}")


if __name__ == "__main__":
    main()

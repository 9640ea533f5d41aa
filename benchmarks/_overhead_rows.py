"""The rows of overhead.py's table, each with a verdict only where it has a target and something was measured."""

from __future__ import annotations

from collections.abc import Sequence

from _canned import LONG, SHORT
from _common import Row
from _peers import PEERS
from _samples import AGAIN, PLAIN, RECORDER, Samples
from _subjects import SCENARIOS

OURS = "or_instrument"
UNSAMPLED, CONTENT = f"{OURS} not sampled", f"{OURS} content"
LARGE = {"10 MB of vectors": 1, "10 MB image": 1}
"""Calls a round."""
TARGETS = {"chat": 1.5, "embeddings": 1.35, "stream of 200": 2.0, "broken off": 1.3}
"""Multiples of what the recorder adds."""
LARGE_MS, CHUNK_SHARE, UNSAMPLED_SHARE, CONTENT_SHARE = 1.0, 0.01, 0.65, 2.0


def judged(target: str, measured: float, noise: float, *, met: bool) -> tuple[str, bool | None]:
    """Return a target and whether it is met: no verdict where what it is judged by is no larger than the noise."""
    return (target, met) if measured > noise else (f"{target} (within the noise)", None)


def rows_of_all(samples: Samples, names: Sequence[str]) -> list[Row]:
    """Return the rows of all subjects that were measured."""
    rows = plain_rows(samples)
    for name in names:
        if name != PLAIN:
            rows += [*call_rows(samples, name), chunk_row(samples, name)]
    rows += large_rows(samples) if OURS in names else []
    rows += relative_rows(samples) if {OURS, UNSAMPLED, CONTENT} <= set(names) else []
    peers = [name for name in names if name in PEERS]
    return rows + (peer_rows(samples, peers) if peers and OURS in names else [])


def plain_rows(samples: Samples) -> list[Row]:
    """Return what the SDK itself spends on a call and on a chunk."""
    rows = [Row(PLAIN, scenario, samples.plain(scenario) * 1e6, "us") for scenario in SCENARIOS]
    return [*rows, Row(PLAIN, "a chunk", _a_chunk(samples), "us")]


def call_rows(samples: Samples, name: str) -> list[Row]:
    """Return what one subject adds to a call. Only ours is judged."""
    rows = []
    for scenario, limit in TARGETS.items():
        multiple, recorder = samples.multiple(name, scenario), samples.added(RECORDER, scenario)
        each = [samples.multiple(name, scenario, one) for one in samples.starts]
        verdict: tuple[str, bool | None] = ("", None)
        if name == OURS:
            verdict = judged(f"<= {limit}", recorder, samples.noise(scenario), met=multiple <= limit)
        microseconds = samples.added(name, scenario) * 1e6
        rows.append(Row(name, scenario, microseconds, "us", multiple, *verdict, spread(each)))
    return rows


def chunk_row(samples: Samples, name: str) -> Row:
    """Return what one subject adds to a chunk. Only ours is judged."""
    share, noise = samples.chunk_share(name), abs(samples.chunk_share(AGAIN))
    each = [samples.chunk_share(name, one) for one in samples.starts]
    verdict: tuple[str, bool | None] = ("", None)
    if name == OURS:
        verdict = judged(f"<= {CHUNK_SHARE}", share, noise, met=share <= CHUNK_SHARE)
    microseconds = share * _a_chunk(samples)
    return Row(name, "a chunk, of the SDK's own", microseconds, "us", share, *verdict, spread(each, ".4f"))


def _a_chunk(samples: Samples) -> float:
    return samples.plain_chunks() / (LONG - SHORT) * 1e6


def spread(values: list[float], form: str = ".2f") -> str:
    """Return the least and the most of the starts."""
    return f"{min(values):{form}}-{max(values):{form}}"


def large_rows(samples: Samples) -> list[Row]:
    """Return what a reply of 10 MB takes."""
    rows = []
    for scenario in LARGE:
        each = [samples.added(OURS, scenario, one) * 1e3 for one in samples.starts]
        added = samples.added(OURS, scenario)
        value, share = added * 1e3, added / samples.plain(scenario)
        verdict = judged(f"<= {LARGE_MS} ms", added, samples.noise(scenario), met=value <= LARGE_MS)
        rows.append(Row(OURS, f"{scenario}, of the SDK's own", value, "ms", share, *verdict, spread(each)))
        rows.append(Row(AGAIN, scenario, samples.added(AGAIN, scenario) * 1e3, "ms"))
    return rows


def relative_rows(samples: Samples) -> list[Row]:
    """Return what is judged by what we add by default."""
    rows = []
    for scenario in TARGETS:
        ours, noise = samples.added(OURS, scenario), samples.noise(scenario)
        unsampled, content = samples.added(UNSAMPLED, scenario), samples.added(CONTENT, scenario) - ours
        for name, added, limit in ((UNSAMPLED, unsampled, UNSAMPLED_SHARE), (CONTENT, content, CONTENT_SHARE)):
            verdict = judged(f"<= {limit}", ours, noise, met=added <= limit * ours)
            rows.append(Row(name, f"{scenario}, of ours", added * 1e6, "us", added / ours, *verdict))
    return rows


def peer_rows(samples: Samples, peers: list[str]) -> list[Row]:
    """Return what we add beside the peer that adds the least."""
    rows = []
    for scenario in TARGETS:
        ours, theirs = samples.added(OURS, scenario), {peer: samples.added(peer, scenario) for peer in peers}
        least = min(theirs, key=theirs.__getitem__)
        each = [samples.multiple(OURS, scenario, one, least) for one in samples.starts]
        verdict = judged("< every peer", theirs[least], samples.noise(scenario), met=ours < theirs[least])
        measure, ratio = f"{scenario}, of {least}'s, the least", ours / theirs[least]
        rows.append(Row(OURS, measure, ours * 1e6, "us", ratio, *verdict, spread(each)))
    return rows

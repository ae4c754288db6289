"""`spaceclip cache info`: what a store holds."""

import json
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from ...paths import FEATURES

if TYPE_CHECKING:
    from ....cache import ChannelStatistics, FeatureCache, Location

_EXTREMES = 5


@click.command()
@click.argument("path", type=FEATURES)
@click.option("--stats", is_flag=True, help="Statistics of each channel of each hidden state; reads all of them.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every channel.")
def info(path: "Location", *, stats: bool, as_json: bool) -> None:
    """Say what a store holds, or each store of a data set.

    PATH is the store, its pointer, or the folder of the pointers; JSON of several is by split.
    """
    from ....cache import FeatureCache
    from ...features import split_stores
    from .reading import by_split

    if begun := _begun(path):
        for store in begun:
            shards = f"{len(store.records)} of {store.shards} shards"
            click.echo(f"{store.path}: no pointer yet, {shards}; run the same `spaceclip extract` again", err=as_json)
        if not as_json:
            return
    files = split_stores(path)
    stores = {name: FeatureCache.open(file, allow_incomplete=not stats) for name, file in files.items()}
    if as_json:
        facts = {name: _everything(store, stats=stats) for name, store in stores.items()}
        click.echo(json.dumps(by_split(facts), indent=1))
        return
    for store in stores.values():
        _print(store, stats=stats)


def _begun(path: "Location") -> "list[FeatureCache]":
    """The stores in a folder that holds none of their pointers."""
    from ....cache import FeatureCache, place_at

    names = place_at(path).names()
    if "zarr.json" in names or any(name.endswith(".json") for name in names):
        return []
    return [FeatureCache.open(path / name, allow_incomplete=True) for name in names if name.endswith(".zarr")]


def _everything(store: "FeatureCache", *, stats: bool) -> dict[str, Any]:
    facts = {"store": str(store.path), **_facts(store), "identity": store.identity, "about": store.about}
    return facts | ({"statistics": _plain(_statistics(store))} if stats else {})


def _print(store: "FeatureCache", *, stats: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    found = _statistics(store) if stats else {}
    table = Table(title=str(store.path), show_header=False, title_justify="left")
    for name, value in _described(store).items():
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for name, reason in _facts(store)["quarantined"].items():
        click.echo(f"quarantined {name}: {reason}")
    for layer, statistics in found.items():
        console.print(_table(layer, statistics))


def _facts(store: "FeatureCache") -> dict[str, Any]:
    from ....cache import stored_bytes

    bad, depth = store.quarantined, store.depth_range
    ids = store.sample_ids if bad else []
    return {
        "fingerprint": store.fingerprint,
        "samples": len(store),
        "distinct_images": len(set(store.content_hashes) - {""}),
        "distinct_depth_maps": len(set(store.depth_hashes) - {""}),
        "depth_range": depth and depth._asdict(),
        "quarantined": {ids[row]: reason for row, reason in bad.items()},
        "shards": store.shards,
        "committed": len(store.records),
        "bytes": stored_bytes(store),
    }


def _described(store: "FeatureCache") -> dict[str, str]:
    from ....cache import count_looks, size_text

    looks = {"looks": str(count_looks(store.path))} if store.about.get("split") == "test" else {}
    facts, identity, depth, measured = _facts(store), store.identity, store.identity["depth"], store.depth_range
    quarantined = f", {len(facts['quarantined']):,} of them quarantined" if facts["quarantined"] else ""
    return {
        "fingerprint": store.fingerprint,
        "samples": f"{len(store):,}{quarantined}; {facts['distinct_images']:,} distinct images",
        "shards": f"{facts['committed']:,} of {facts['shards']:,} committed",
        "size": size_text(facts["bytes"]),
        "backbone": f"{identity['backbone']['name']} ({identity['backbone']['revision']})",
        "computed": ", ".join(f"{name} {value}" for name, value in identity["computed"].items()) or "unknown",
        "precision": f"computed in {identity['backbone']['precision']}, stored in {identity['tokens']['storage']}",
        "hidden states": ", ".join(map(str, store.layers)),
        "views": ", ".join(store.views),
        "tokens": f"{identity['tokens']['patches']} patches x {identity['tokens']['channels']} channels",
        "depth": f"{depth['size'][0]} x {depth['size'][1]}, in steps of {depth['unit']:g} m" if depth else "none",
        "depth range": str(measured or "none measured"),
        "data": ", ".join(f"{name} {value}" for name, value in store.about.items() if value is not None),
        **looks,
    }


def _statistics(store: "FeatureCache") -> "dict[int, ChannelStatistics]":
    from ....cache import channel_statistics
    from .reading import counting

    tokens = store.identity["tokens"]
    total = len(store.usable) * len(store.views) * len(store.layers) * tokens["patches"] * tokens["channels"] * 2
    with counting("statistics", total) as count:
        return {layer: channel_statistics(store, layer, count) for layer in store.layers}


def _plain(found: "dict[int, ChannelStatistics]") -> dict[str, Any]:
    return {
        str(layer): {name: values.tolist() for name, values in vars(statistics).items()}
        | {"extremes": statistics.extremes(_EXTREMES)}
        for layer, statistics in found.items()
    }


def _table(layer: int, found: "ChannelStatistics") -> Any:
    """A summary over the channels of one hidden state, and the channels that reach furthest from zero."""
    from rich.table import Table

    columns = [values.tolist() for values in vars(found).values()]
    table = Table(title=f"hidden state {layer}, {len(found.mean)} channels", title_justify="left")
    table.add_column("")
    for name in ("mean", "std", "min", "max", "zeros"):
        table.add_column(name, justify="right")
    for name, of in (("lowest", min), ("median", median), ("highest", max)):
        table.add_row(name, *_numbers([of(column) for column in columns]), end_section=of is max)
    for channel in found.extremes(_EXTREMES):
        table.add_row(f"channel {channel}", *_numbers([column[channel] for column in columns]))
    return table


def _numbers(values: list[float]) -> list[str]:
    return [*(f"{value:.4g}" for value in values[:4]), f"{values[4]:.2%}"]

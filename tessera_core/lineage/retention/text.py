"""An inventory as lines for a terminal."""

from collections import defaultdict

from tessera_core.lineage.retention.inventory import Inventory, Item

MEGABYTE = 1e6


def render_text(inventory: Inventory) -> list[str]:
    """Return a line per folder; DVC's objects, of which there are many, on one."""
    objects: dict[str, list[Item]] = defaultdict(list)
    lines = ["may go:"]
    for item in inventory.prunable:
        if item.path.startswith(".dvc/"):
            objects[item.reason].append(item)
        else:
            lines.append(_line(item.path, item.size, item.reason))
    for reason, items in objects.items():
        total = sum(item.size for item in items)
        lines.append(_line(f"{len(items)} objects in .dvc/cache", total, reason))
    lines.append("must stay:")
    lines += [_line(item.path, item.size, item.reason) for item in inventory.staying]
    total = sum(item.size for item in inventory.prunable)
    return [*lines, f"{total / MEGABYTE:,.1f} MB may go; --delete removes exactly that"]


def _line(path: str, size: int, reason: str) -> str:
    return f"  {size / MEGABYTE:>9,.1f} MB  {path}: {reason}"

"""A picture of the demonstration for the README, from what was really shown."""

import re
from io import StringIO
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import MONOKAI

from workers.simulation.demonstration.screen import Snapshot, table

_WIDTH = 116
_FONTS = re.compile(r"@font-face\s*{[^}]*}\s*")


def draw(file: Path, snapshot: Snapshot, comparison: RenderableType) -> None:
    """Write an SVG of the table at `snapshot` and the comparison. It loads nothing from elsewhere."""
    console = Console(record=True, width=_WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print("$ make demo", style="bold")
    console.print(table(snapshot, _WIDTH))
    console.print()
    console.print(comparison)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Rich's frame would fetch its fonts from a server: the reader's own monospace does.
    file.write_text(_FONTS.sub("", console.export_svg(title="Operation Lava", theme=MONOKAI)), encoding="utf-8")

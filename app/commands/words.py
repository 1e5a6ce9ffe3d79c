"""What commands share: options, and how they speak to a person."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

DataDirectory = Annotated[
    Path,
    typer.Option("--data-dir", envvar="GAIN_DATA_DIR", help="Folder of the database, its logs and the secret."),
]
Reason = Annotated[str, typer.Option(help="Why, in your words: the log keeps a salted hash of them.")]
Moment = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
HERE = Path(".gain")
"""The data directory where none is named."""


def say(line: str) -> None:
    """Tell the person at the terminal, on stderr: stdout is for results."""
    print(f"gain: {line}", file=sys.stderr, flush=True)

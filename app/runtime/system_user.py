"""Whom the data services run as: PostgreSQL refuses to run as root, so root lends them a user of their own."""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from app.runtime.binaries import ensure_folder_permissions, ensure_user_exists
from app.runtime.refusal import StartRefused, refusing

_NAME = "pgserver"  # the name that the wheel of the binaries uses
_READ = stat.S_IRGRP | stat.S_IROTH
_EXECUTE = stat.S_IXGRP | stat.S_IXOTH


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A user and group of the operating system."""

    uid: int
    gid: int


@cache
def service_user() -> SystemUser | None:
    """The user that PostgreSQL and Valkey run as: None (ourselves), or for root the system user `pgserver`.

    Raises `StartRefused` where root cannot make that user.
    """
    if os.geteuid() != 0:
        return None
    entry = _existing() or _made()
    return SystemUser(entry.pw_uid, entry.pw_gid)


def _existing() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_NAME)
    except KeyError:
        return None


def _made() -> pwd.struct_passwd:
    try:
        return ensure_user_exists(_NAME) or pwd.getpwnam(_NAME)
    except (subprocess.CalledProcessError, OSError, KeyError) as error:
        entry = _existing()  # two that start at once both try to make it
        if entry is not None:
            return entry
        raise StartRefused(
            f"PostgreSQL does not run as root, and the system user {_NAME!r} cannot be made: "
            "run as an ordinary user, or set GAIN_DATABASE_URL"
        ) from error


def own(path: Path, mode: int) -> None:
    """Give `path` to the service user, with `mode`."""
    user = service_user()
    with refusing(f"set the owner of {path}"):
        path.chmod(mode)
        if user is not None:
            os.chown(path, user.uid, user.gid)


def let_in(path: Path) -> None:
    """Let the service user pass through the folders above `path`: passing only, and only where it is missing.

    (The wheel's own helper makes every folder up to the root readable to everyone.)
    """
    if service_user() is None:
        return
    for folder in path.resolve().parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & stat.S_IXOTH:
            continue
        with refusing(f"open {folder} to the system user {_NAME!r}"):
            folder.chmod(mode | stat.S_IXOTH)


def let_use(binary: Path) -> None:
    """Let the service user run `binary`, which stands in `…/bin`, with the libraries beside that folder.

    Changes nothing unless the wheel was installed unreadable to others (umask 077).
    """
    let_in(binary)
    if service_user() is None or stat.S_IMODE(binary.stat().st_mode) & stat.S_IXOTH:
        return
    prefix = binary.parent.parent if binary.parent.name == "bin" else binary.parent
    with refusing(f"open {prefix} to the system user {_NAME!r}"):
        ensure_folder_permissions(binary.parent, _EXECUTE | _READ)
        ensure_folder_permissions(prefix, _READ)
        prefix.chmod(stat.S_IMODE(prefix.stat().st_mode) | _EXECUTE | _READ)

"""A short, private folder for sockets: their paths are limited to 107 characters, and data directories may be deep."""

import shutil
import tempfile
from pathlib import Path

from app.runtime.refusal import refusing
from app.runtime.system_user import own, service_user

_PREFIX = "gain-"
_LONGEST_PARENT = 60  # leaves room for `gain-xxxxxxxx/.s.PGSQL.5432.lock`


class PrivateFolder:
    """A folder (0700, the service user's) under the system's temporary folder; `link` leads to it while it lives.

    The link is also how the next start finds and removes the folder of a run that was killed.
    """

    def __init__(self, link: Path) -> None:
        self._link = link
        self.path: Path | None = None

    def make(self) -> Path:
        """Make the folder, in place of one that a killed run left."""
        self.remove()
        parent = tempfile.gettempdir()
        if len(parent) > _LONGEST_PARENT:
            parent = "/tmp"  # nosec B108  # noqa: S108 - mkdtemp makes a folder of its own in it, for us alone
        with refusing("make a folder for sockets"):
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            own(self.path, 0o700)
            self._link.symlink_to(self.path)
        return self.path

    def remove(self) -> None:
        """Remove the folder and the link to it."""
        left = self._link.readlink() if self._link.is_symlink() else None
        if left is not None and _is_ours(left):
            shutil.rmtree(left)
        self._link.unlink(missing_ok=True)
        self.path = None


def _is_ours(path: Path) -> bool:
    """Whether `path` is a folder that `make` makes, and not something put in its place."""
    user = service_user()
    if not path.name.startswith(_PREFIX) or path.is_symlink() or not path.is_dir():
        return False
    return user is None or path.stat().st_uid == user.uid

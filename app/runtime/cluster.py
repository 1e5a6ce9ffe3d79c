"""A PostgreSQL cluster on disk: made once, and freed of what a killed server left behind."""

import os
import shutil
import subprocess
from pathlib import Path
from signal import SIGINT, SIGQUIT

import psutil

from app.runtime.binaries import POSTGRES_BIN as BIN
from app.runtime.data_dir import keep_names
from app.runtime.refusal import StartRefused, refusing
from app.runtime.system_user import own, service_user


def make_cluster(data: Path, superuser: str, password: str, scratch: Path, *, sync: bool) -> None:
    """Make a cluster at `data`, which must not exist; a half-made one never appears there.

    `scratch` is a private folder of the service user. Raises `StartRefused` where initdb fails.
    """
    draft = data.with_name(f"{data.name}.new")
    password_file = scratch / "password"
    with refusing(f"make a database in {data.parent}"):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password_file.write_text(password, encoding="ascii")
    own(draft, 0o700)
    own(password_file, 0o600)
    try:
        _initdb(draft, superuser, password_file, sync=sync)
    finally:
        password_file.unlink()
    with refusing(f"make a database in {data.parent}"):
        draft.replace(data)
        keep_names(data.parent)


def _initdb(folder: Path, superuser: str, password_file: Path, *, sync: bool) -> None:
    user = service_user()
    done = subprocess.run(
        [
            str(BIN / "initdb"),
            f"--pgdata={folder}",
            f"--username={superuser}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--no-instructions",
            *([] if sync else ["--no-sync"]),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",  # the service user may have no way into ours
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        start_new_session=True,  # Ctrl-C lets it finish: it takes under a second
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise StartRefused(f"PostgreSQL cannot make its files in {folder.parent}: {lines[-1]}")


def clear_leftovers(data: Path) -> None:
    """End a server that still runs on `data` though its starter is gone. Whoever calls must own the data directory.

    Raises `StartRefused` where a process of it does not end: two servers on one cluster would destroy it.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    main = _pid(lock)
    left = _processes_of(data)
    for process in left:
        if process.pid == main:
            process.send_signal(SIGINT)
    _, alive = psutil.wait_procs(left, timeout=5)
    for process in alive:
        process.send_signal(SIGQUIT)
    _, alive = psutil.wait_procs(alive, timeout=3)
    if alive:
        raise StartRefused(f"process {alive[0].pid}, PostgreSQL of an earlier run, uses {data} and does not stop")
    if main is not None and psutil.pid_exists(main):
        lock.unlink(missing_ok=True)  # the number belongs to another process now, at which PostgreSQL would give up


def _pid(lock: Path) -> int | None:
    first = lock.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    return abs(int(first)) if first.lstrip("-").isdigit() else None


def _processes_of(data: Path) -> list[psutil.Process]:
    """The server processes whose working folder is `data`: PostgreSQL's processes all stay there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.cwd() == str(data.resolve()):
                found.append(process)
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
    return found

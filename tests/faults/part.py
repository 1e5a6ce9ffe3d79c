"""`part.py COMMAND`: runs `gain COMMAND` in a process that faults were put into."""

import sys

from tests.faults import inject


def main() -> None:
    inject.apply(sys.argv[1])
    from app.cli import main as run

    sys.argv = ["gain", *sys.argv[1:]]
    run()


if __name__ == "__main__":
    main()

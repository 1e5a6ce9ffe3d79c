"""The search for canaries finds what it must, or its finding nothing would prove nothing."""

import base64
from pathlib import Path

import pytest

from tests import canary

WORD = "Zzyxquill7"


@pytest.mark.parametrize(
    "hidden",
    [
        WORD.encode(),
        WORD.lower().encode(),
        WORD.encode("utf-16-le"),
        f"\\x{WORD.encode().hex()}".encode(),
        *(base64.b64encode(b"before"[:shift] + WORD.encode() + b" and after") for shift in range(7)),
        b"x" * (4 * 1024 * 1024 - 5) + WORD.encode(),
    ],
)
def test_it_finds_a_word_in_every_form_and_across_pieces(tmp_path: Path, hidden: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"begin " + hidden + b" end")
    [hit, *_] = canary.search_folders([WORD], tmp_path)
    assert hit.where.endswith("deep/file")


def test_it_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"Zzyxquil l7" * 1_000)
    assert canary.search_folders([WORD], tmp_path) == []
    assert canary.search_texts([WORD], {"log": "nothing", "keys": b"\0"}) == []
    assert canary.search_texts([WORD], {"log": f"a {WORD}"}) == [canary.Hit("log", "plain", 2)]

"""Entity tags: when a client already has what it asks for."""

import pytest

from app.web.etag import none_match, weak_tag

TAG = weak_tag("a1b2.7", "HMRC", None, None, 100)


@pytest.mark.parametrize(
    "lines",
    [
        [TAG],
        [TAG.removeprefix("W/")],
        [f'"other", {TAG}'],
        [f'W/"with,comma",{TAG}  ,"x"'],
        ['"other"', TAG],
        ["*"],
        [" * "],
    ],
)
def test_a_client_that_names_the_tag_has_it(lines: list[str]) -> None:
    assert none_match(lines, TAG)


@pytest.mark.parametrize(
    "lines", [[], [""], ['"other"'], [TAG.strip('W/"')], [TAG[:-1]], ['W/"a1b2.7"'], ["**"], [TAG.upper()]]
)
def test_any_other_tag_is_another(lines: list[str]) -> None:
    assert not none_match(lines, TAG)


@pytest.mark.parametrize(
    "other",
    [
        weak_tag("a1b2.8", "HMRC", None, None, 100),
        weak_tag("ffff.7", "HMRC", None, None, 100),
        weak_tag("a1b2.7", "EA", None, None, 100),
        weak_tag("a1b2.7", "HMRC", "query", None, 100),
        weak_tag("a1b2.7", "HMRC", None, (1, 5), 100),
        weak_tag("a1b2.7", "HMRC", None, None, 50),
    ],
)
def test_a_tag_is_of_one_version_party_filter_position_and_limit(other: str) -> None:
    assert other != TAG
    assert not none_match([other], TAG)

"""Versions in memory: a change makes another, heard however often, and what was found empty is so until then."""

from app.inbox.versions import Versions


def test_a_change_makes_another_version_of_the_inboxes_named_alone() -> None:
    versions = Versions()
    before = versions.of("HMRC"), versions.of("EA")
    versions.changed(7, ["HMRC"])
    assert versions.of("HMRC") != before[0]
    assert versions.of("EA") == before[1]


def test_a_change_heard_twice_is_one_change() -> None:
    versions = Versions()
    versions.changed(7, ["HMRC"])
    version = versions.of("HMRC")
    versions.changed(7, ["HMRC"])
    versions.changed_everywhere(7)
    assert versions.of("HMRC") == version


def test_a_transaction_that_tells_in_parts_is_heard_in_all_of_them() -> None:
    """The clock reminds some agencies and ends items of others in one transaction."""
    versions = Versions()
    before = versions.of("HMRC"), versions.of("EA")
    versions.changed(7, ["HMRC"])
    versions.changed(7, ["HMRC", "EA"])
    assert versions.of("HMRC") == before[0] + 1
    assert versions.of("EA") == before[1] + 1


def test_what_was_heard_of_everybody_is_heard_of_each() -> None:
    versions = Versions()
    versions.changed_everywhere(7)
    version = versions.of("HMRC")
    versions.changed(7, ["HMRC"])
    assert versions.of("HMRC") == version


def test_a_change_that_cannot_come_again_is_forgotten() -> None:
    versions = Versions()
    versions.changed(7, ["HMRC"])
    versions.changed(9, ["HMRC"])
    versions.forget(before=9)
    version = versions.of("HMRC")
    versions.changed(9, ["HMRC"])
    assert versions.of("HMRC") == version
    versions.changed(7, ["HMRC"])
    assert versions.of("HMRC") != version


def test_when_changes_may_be_unheard_of_every_version_moves_on() -> None:
    versions = Versions()
    before = versions.of("HMRC"), versions.of("EA")
    versions.changed_everywhere()
    assert before[0] != versions.of("HMRC")
    assert before[1] != versions.of("EA")


def test_a_version_never_comes_back() -> None:
    versions = Versions()
    seen = [versions.of("HMRC")]
    for transaction in range(5):
        versions.changed(transaction, ["HMRC", "HMRC"])
        seen.append(versions.of("HMRC"))
        versions.changed_everywhere()
        seen.append(versions.of("HMRC"))
    assert len(set(seen)) == len(seen)


def test_an_inbox_is_known_to_be_empty_until_it_changes() -> None:
    versions = Versions()
    assert not versions.is_empty("HMRC")
    versions.found_empty("HMRC", versions.of("HMRC"))
    assert versions.is_empty("HMRC")
    assert not versions.is_empty("EA")
    versions.changed(7, ["HMRC"])
    assert not versions.is_empty("HMRC")


def test_what_was_found_empty_before_a_change_is_not_known_to_be_empty() -> None:
    versions = Versions()
    version = versions.of("HMRC")
    versions.changed(7, ["HMRC"])
    versions.found_empty("HMRC", version)
    assert not versions.is_empty("HMRC")


def test_whoever_watches_is_told_and_afterwards_no_more() -> None:
    versions, told = Versions(), []
    with versions.watched("HMRC", lambda: told.append("told")):
        versions.changed(1, ["EA"])
        assert told == []
        versions.changed(2, ["HMRC", "EA"])
        versions.changed_everywhere()
        assert told == ["told", "told"]
    versions.changed(3, ["HMRC"])
    assert told == ["told", "told"]

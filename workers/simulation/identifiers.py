"""Identifiers that were never issued to anybody, each a pure function of a number.

National insurance prefix QQ is never allocated; the letter Q never stands in the last group of a registration mark;
company numbers from 99000000 lie far above Companies House's; phone numbers are Ofcom's for drama use.
"""

from datetime import date

_PHONES = (
    "07700 900 02920 180 01632 960 02079 460 01134 960 01144 960 01154 960 01164 960 01174 960 01184 960 "
    "01214 960 01414 960 01514 960 01614 960 01914 980 03069 990"
).split()
_PHONE_RANGES = tuple(zip(_PHONES[::2], _PHONES[1::2], strict=True))
_LOCAL = ("CA", "CE", "CK", "CN", "CU", "CV", "CX", "CY", "WA", "WJ", "BD", "BX", "MA", "MX", "LB", "LR", "SA", "YJ")
_AGES = tuple(f"{year:02d}" for year in range(8, 26)) + tuple(str(year) for year in range(58, 76))
_LETTERS = "ABCDEFGHJKLMNOPRSTUVWXYZ"
REGISTRATIONS = len(_LOCAL) * len(_AGES) * len(_LETTERS) ** 2
"""How many registration marks there are to draw from."""


def _mixed(number: int, modulus: int, factor: int) -> int:
    """Spread consecutive numbers over `range(modulus)` without collision: `factor` is prime to `modulus`."""
    return (number * factor + 104_729) % modulus


def national_insurance_number(person: int) -> str:
    """`QQ123456A`."""
    digits = _mixed(person, 1_000_000, 48_271)
    return f"QQ{digits:06d}{'ABCD'[person % 4]}"


def unique_taxpayer_reference(person: int) -> str:
    """Ten digits beginning 000, which no live reference does."""
    return f"000{_mixed(person, 10_000_000, 611_953):07d}"


def passport(person: int) -> str:
    """Nine digits beginning 99."""
    return f"99{_mixed(person, 10_000_000, 224_737):07d}"


def pnc_id(person: int, year: int) -> str:
    """`1999/0123456X`."""
    digits = _mixed(person, 10_000_000, 350_377)
    return f"{year}/{digits:07d}{_LETTERS[digits % 23]}"


def driving_licence(family: str, given: str, birth: date, female: bool) -> str:
    """Sixteen characters in DVLA's pattern, with check characters 0QQ that are never issued."""
    surname = "".join(letter for letter in family.upper() if letter.isalpha())[:5].ljust(5, "9")
    month = birth.month + (50 if female else 0)
    initials = "".join(name[0] for name in given.upper().split()[:2]).ljust(2, "9")
    return f"{surname}{birth.year // 10 % 10}{month:02d}{birth.day:02d}{birth.year % 10}{initials}0QQ"


def registration(number: int) -> str:
    """A mark such as `CX14 QBC` for each number in `range(REGISTRATIONS)`."""
    number, last = divmod(number, len(_LETTERS))
    number, middle = divmod(number, len(_LETTERS))
    local, age = divmod(number, len(_AGES))
    return f"{_LOCAL[local]}{_AGES[age]} Q{_LETTERS[middle]}{_LETTERS[last]}"


def company_number(company: int) -> str:
    """`99001234`."""
    return f"99{company:06d}"


def phone(person: int) -> str:
    """A number for the first 16,000 people, after that the empty string: Ofcom keeps only so many aside."""
    if person >= 1000 * len(_PHONE_RANGES):
        return ""
    range_, line = divmod(person, 1000)
    prefix, middle = _PHONE_RANGES[range_]
    return f"{prefix} {middle}{line:03d}"


def email(family: str, given: str, person: int) -> str:
    """An address in a domain that can never exist (RFC 2606)."""
    name = "".join(letter for letter in f"{given.split()[0]}.{family}".lower() if letter.isalpha() or letter == ".")
    return f"{name}.{person}@example.invalid"

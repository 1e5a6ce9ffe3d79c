"""Text as it is compared: letters and digits only, without case or accents."""

import re
import unicodedata

_FORM = re.compile(r"(limited|ltd|plc|llp)$")
LONGEST = 120
"""What a search looks at of any one value: longer than a name or an address line ever is."""


def plain(text: str) -> str:
    """`O'Brien` and `OBRIEN` alike become `obrien`; what cannot be written in ASCII is left out."""
    text = text[:LONGEST]
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(filter(str.isalnum, text)).lower()


def key(type_: str, value: str) -> str:
    """An identifier as the registers index it: `vehicle_registration:cx14abc`."""
    return f"{type_}:{plain(value)}"


def plain_company(text: str) -> str:
    """A company's name without its legal form: `Hart Haulage Limited` and `HART HAULAGE LTD` become `harthaulage`."""
    return _FORM.sub("", plain(text))

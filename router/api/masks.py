"""Phone numbers masked in records; what is plainly an id of ours stays whole, and links work."""

import re
from collections.abc import Mapping
from typing import Any, Final

from personas.logs import mask, masked

_ID: Final = re.compile(
    r"(msg_|(?=\d*[a-f]))[0-9a-f]{32}|out-[0-9a-f]{32}"
    r"|(?=\d*[a-f])[0-9a-f]{16}(:\d{1,6})?|sha256:[0-9a-f]{64}"
)


def masked_record(value: Any) -> Any:
    """Mask every phone number in *value*, however deep; give it in JSON's types.

    An id of 32 hexadecimal digits, of a call or an event, the room of a call that we make, a list
    of leads with a place in it, and the hash of a persona are none, though many of their
    digits may stand in a row.
    """
    if isinstance(value, str):
        return value if _ID.fullmatch(value) else mask(value)
    if value is None or isinstance(value, bool | float):  # as most of a record is
        return value
    if isinstance(value, Mapping):
        return {masked(key): masked_record(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_record(item) for item in value]
    return masked(value)

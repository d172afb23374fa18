"""Phone numbers masked in records; what is plainly an id of ours stays whole, and links work."""

import re
from collections.abc import Mapping
from typing import Any, Final

from personas.logs import masked

_ID: Final = re.compile(r"(msg_|(?=\d*[a-f]))[0-9a-f]{32}|sha256:[0-9a-f]{64}")


def masked_record(value: Any) -> Any:
    """Mask every phone number in *value*, however deep; give it in JSON's types.

    An id of 32 hexadecimal digits, of a call or an event, and the hash of a persona are no phone
    numbers, though many of their digits may stand in a row.
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    if isinstance(value, Mapping):
        return {masked(key): masked_record(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked_record(item) for item in value]
    return masked(value)

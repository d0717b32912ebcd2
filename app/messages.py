"""What a visitor is told of an error."""

import re

from ptq.errors import PTQError

# Two folders and more before the name of a folder and a file.
_LEADING_FOLDERS = re.compile(r"(?<![\w/.])(?:/[^\s/:;,'\"]+)+(?=(?:/[^\s/:;,'\"]+){2})")


def message_of(error: PTQError) -> str:
    """The error's sentence without the folders of the host, which are none of a visitor's."""
    return _LEADING_FOLDERS.sub("…", str(error))

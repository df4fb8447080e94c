"""What can be wrong with a stored file."""

from app.core.errors import TowpathError


class FileLost(TowpathError):
    """The row is there, its bytes are missing or changed. Context: file."""

    code = "file_lost"

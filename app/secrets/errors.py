"""What goes wrong with a stored secret."""

from app.core.errors import TowpathError


class SecretUnreadable(TowpathError):
    """A stored secret does not open with the platform's key. Context: key_id, of the key that sealed it."""

    code = "secret_unreadable"

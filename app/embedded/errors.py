"""Why a part of the local stack did not start."""

from app.core.errors import Unavailable


class FolderRefused(Unavailable):
    """A state folder that cannot be used; the message names it and says what to do."""


class FolderInUse(Unavailable):
    """A living process already keeps its servers in this folder."""


class ServerFailed(Unavailable):
    """A server ended, or did not answer in time; the message carries the end of its log."""

"""Settings of the tools room."""

from pydantic import BaseModel


class ToolsConfig(BaseModel, frozen=True, extra="forbid"):
    """What the built-in tools may reach."""

    # Private `ip:port` (IPv6 as `[ip]:port`) that http.get and http.request may reach all the same.
    allowed_private: frozenset[str] = frozenset()

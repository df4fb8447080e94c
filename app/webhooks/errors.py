"""What the webhooks room refuses."""

from app.core.errors import TowpathError


class EndpointDisabled(TowpathError):
    """The endpoint is disabled: enable it first."""

    code = "endpoint_disabled"

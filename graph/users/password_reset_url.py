"""The address of the page that asks for a new password (graph.transport.routes.password_reset)."""


def password_reset_url(base_url: str, token: str) -> str:
    """The token is in the fragment, which browsers send to no server and put into no `Referer`."""
    return f"{base_url}/reset-password#token={token}"

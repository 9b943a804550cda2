"""The HTTP responses of errors of the plain HTTP routes."""

import pytest

from db import errors
from db.errors import HowdahError, RateLimited, Unauthenticated
from graph.transport.files.byte_responses import error_response

KINDS = [kind for kind in HowdahError.__subclasses__() if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_error_response_of_deliberate_error_is_no_fault_of_the_server(
    kind: type[HowdahError],
) -> None:
    assert error_response(kind("No.", hint="Wait."), "r1").status_code != 500


def test_error_response_asks_for_credentials() -> None:
    response = error_response(Unauthenticated("No.", hint="Sign in."), "r1")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_error_response_says_when_to_retry() -> None:
    response = error_response(RateLimited("No.", hint="Wait.", retry_after_s=0.4), "r1")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")

import pytest

from db.concurrency.postponed_errors import postpone_errors
from db.errors import HowdahError, NotFound, Unavailable

DOWN = Unavailable("It is down.", hint="Wait.")
GONE = NotFound("It is gone.", hint="None.")


def test_each_step_runs_and_the_first_error_is_raised_at_the_end() -> None:
    done: list[int] = []

    def run() -> None:
        with postpone_errors(HowdahError) as step:
            for number, error in enumerate((None, DOWN, GONE, None)):
                with step():
                    if error is not None:
                        raise error
                    done.append(number)

    with pytest.raises(Unavailable):
        run()
    assert done == [0, 3]


def test_other_error_ends_the_steps_at_once() -> None:
    done: list[int] = []

    def run() -> None:
        with postpone_errors(HowdahError) as step:
            for number in range(2):
                with step():
                    done.append(number)
                    raise KeyError(number)

    with pytest.raises(KeyError):
        run()
    assert done == [0]

"""`howdah doctor`: checks what a server needs and suggests fixes. It changes nothing."""

from graph.commands.doctor.checks import run_checks

__all__ = ["run_checks"]

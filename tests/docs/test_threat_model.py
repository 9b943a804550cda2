"""Each statement of the threat model leads to a test or to an open point."""

import re
from collections.abc import Iterator
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
ORDER = ["Threat model", "Promises", "Open points", "What an operator must do"]
OUTCOMES = {"gets", "does not get", "operator"}


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def untraced(page: str) -> Iterator[str]:
    """Statements without proof, or with an open point that does not exist."""
    points = set(re.findall(r"^(\d+)\. \*\*", section(page, "Open points"), re.MULTILINE))
    for row in re.findall(r"^\| (?!outcome).+ \|$", section(page, "Threat model"), re.MULTILINE):
        proof = row.split(" | ")[-1]
        named = set(re.findall(r"\[open point (\d+)\]\(#open-points\)", proof))
        if not (named or "](../tests/" in proof) or not named <= points:
            yield row


def test_threat_model_is_before_promises_open_points_and_duties() -> None:
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == ORDER


def test_threat_model_says_every_outcome_of_every_attacker() -> None:
    attackers = section(PAGE, "Threat model").split("\n### ")[1:]
    assert len(attackers) == 7
    for attacker in attackers:
        assert set(re.findall(r"^\| (.+?) \|", attacker, re.MULTILINE)) == OUTCOMES | {"outcome"}


def test_threat_model_names_each_open_point() -> None:
    """A new point in the middle moves the others: their old numbers then miss one."""
    points = re.findall(r"^(\d+)\. \*\*", section(PAGE, "Open points"), re.MULTILINE)
    named = re.findall(r"\[open point (\d+)\]", section(PAGE, "Threat model"))
    assert set(named) == set(points)


def test_threat_model_leads_to_tests_and_open_points() -> None:
    assert list(untraced(PAGE)) == []
    for wrong in ("", "a promise", "[open point 99](#open-points)"):
        row = f"| gets | Everything. | {wrong} |"
        planted = PAGE.replace("\n### A signed-up user", f"\n{row}\n\n### A signed-up user")
        assert list(untraced(planted)) == [row]

"""The site has every page once, in the order of llms.txt, and no link that leads out of it."""

import re
import tomllib
from typing import Any

from tests.fixtures.site import DOCS, ROOT, files, navigation, places, with_links_of_site

LLMS = (DOCS / "llms.txt").read_text(encoding="utf-8")
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))


def titles(nav: list[dict[str, Any]]) -> list[str]:
    """The titles of zensical.toml, a section before its pages."""
    found = []
    for entry in nav:
        for title, target in entry.items():
            found += [title] if isinstance(target, str) else [title, *titles(target)]
    return found


def test_navigation_has_every_page_once() -> None:
    linked = navigation()
    assert len(linked) == len(set(linked))
    pages = {place for _, place in files() if place.endswith(".md")}
    elsewhere = {place for place in pages if place.startswith("decisions/")} | {"SECURITY.md"}
    assert set(linked) - {"decisions/index.md"} == pages - elsewhere


def test_start_and_readme_link_every_page() -> None:
    """The pages of decisions, examples and the reference are linked from one of their own."""
    groups = ("decisions/", "examples/", "reference/")
    pages = {place for place in navigation() if not place.startswith(groups)}
    pages -= {"index.md"} | {path.name for path in ROOT.glob("*.md")}  # not in docs
    linked = set(re.findall(r"\]\(([^)#]+\.md)", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert pages - linked == set()
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert pages - set(re.findall(r"\]\(docs/([^)#]+\.md)", readme)) == set()


def test_llms_txt_lists_the_pages_in_order() -> None:
    assert [link for link in re.findall(r"\]\((.+?)\)", LLMS) if not (DOCS / link).exists()] == []
    text = with_links_of_site(LLMS, DOCS / "llms.txt", "llms.txt", places())
    listed = re.findall(r"^- \[(.+?)\]\((.+?)\): (\w.+)$", text, re.MULTILINE)
    assert [path for _, path, _ in listed] == navigation()
    sections = re.findall(r"^## (.+)$", LLMS, re.MULTILINE)
    named = [title for title, _, _ in listed] + sections
    assert sorted(named) == sorted(["Start", *titles(CONFIG["project"]["nav"])])
    assert all(len(line) <= 120 for line in LLMS.splitlines())


def test_site_loads_nothing_from_other_hosts() -> None:
    project = CONFIG["project"]
    assert project["theme"]["font"] is False
    assert not any("//" in path for path in project["extra_css"])
    assert "extra_javascript" not in project


def test_links_out_of_the_site_become_text() -> None:
    page = DOCS / "security.md"
    text = (
        "[a test](../tests/conftest.py), [all](decisions), [settings](settings.md#the-server), "
        "[home](../README.md)\n```\n[kept](../tests)\n```\n"
    )
    assert with_links_of_site(text, page, "security.md", places()) == (
        "a test, [all](decisions/index.md), [settings](settings.md#the-server), "
        "[home](index.md)\n```\n[kept](../tests)\n```\n"
    )

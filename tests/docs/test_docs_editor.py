"""docs/editor.md quotes docs/examples/editor, which tests/browser builds and drives."""

import re

import pytest

from tests.fixtures.pages import ROOT, Block, blocks_of

SOURCES = ROOT / "docs" / "examples" / "editor" / "src"
PAGE = (ROOT / "docs" / "editor.md").read_text(encoding="utf-8")
QUOTED = [block for block in blocks_of(PAGE) if block.language in {"ts", "tsx"}]


@pytest.mark.parametrize("block", QUOTED, ids=lambda block: f"{block.title}:{block.line}")
def test_editor_page_quotes_whole_lines_of_the_app(block: Block) -> None:
    source = (SOURCES / block.title).read_text(encoding="utf-8")
    assert f"\n{block.text}" in f"\n{source}", f"editor.md:{block.line} differs from {block.title}"


def test_editor_page_quotes_the_file_of_every_step() -> None:
    steps = {}
    for path in SOURCES.glob("*.ts*"):
        if found := re.match(r"// Step (\d+):", path.read_text(encoding="utf-8")):
            steps[path.name] = int(found[1])
    numbered = [int(number) for number in re.findall(r"^## (\d+)\.", PAGE, re.MULTILINE)]
    assert numbered == sorted(steps.values()) == list(range(1, 9))
    assert steps.keys() <= {block.title for block in QUOTED}

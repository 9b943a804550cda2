"""What `make dist` refuses, and what its bill of materials adds to the installed packages."""

import zipfile
from pathlib import Path

import pytest

from tests.fixtures.distribution import LICENSES, bill, faults

WHOLE = ["graph/transport/graphiql/dist/index.html", LICENSES]
WHOLE += ["db/alembic/env.py", "db/alembic/versions/0001_tasks.py", "graph/app.py"]
ENVIRONMENT = {
    "bomFormat": "CycloneDX",
    "metadata": {"component": {"bom-ref": "root", "name": "howdah"}},
    "components": [
        {"bom-ref": "howdah==1.2", "name": "howdah"},
        {"bom-ref": "click==8.5", "name": "click"},
    ],
    "dependencies": [
        {"ref": "root", "dependsOn": ["howdah==1.2"]},
        {"ref": "howdah==1.2", "dependsOn": ["click==8.5"]},
        {"ref": "click==8.5"},
    ],
}


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (WHOLE[1:], "graph/transport/graphiql/dist/index.html is missing"),
        (WHOLE[:3], "db/alembic/versions/ is missing"),
        ([*WHOLE, "tests/conftest.py"], "tests/conftest.py does not belong there"),
        ([*WHOLE, "db/.env"], "db/.env does not belong there"),
    ],
)
def test_wheel_with_a_file_too_few_or_too_many_is_refused(names: list[str], fault: str) -> None:
    assert list(faults(WHOLE)) == []
    assert list(faults(names)) == [fault]


def test_bill_of_materials_names_the_packages_in_the_page(tmp_path: Path) -> None:
    wheel = tmp_path / "howdah-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in WHOLE:
            archive.writestr(name, "# Licenses\n\n## @radix-ui/react-id - 1.1.4 (MIT)\n\ntext\n")
    made = bill(wheel, ENVIRONMENT)
    inside = "pkg:npm/%40radix-ui/react-id@1.1.4"
    assert made["metadata"]["component"]["version"] == "1.2"
    assert [one["bom-ref"] for one in made["components"]] == ["click==8.5", inside]
    assert made["dependencies"] == [
        {"ref": "click==8.5", "dependsOn": []},
        {"ref": inside, "dependsOn": []},
        {"ref": "root", "dependsOn": ["click==8.5", inside]},
    ]

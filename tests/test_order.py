"""Files that take minutes start first, so that no worker waits for another at the end."""

from tests.fixtures.order import in_order


def test_long_files_come_before_files_with_many_tests() -> None:
    soak, drills = "tests/survival/test_soak.py", "tests/drills/test_drills.py"
    few, many = "tests/db/test_a.py", "tests/graph/test_b.py"
    counts = {few: 1, many: 9, soak: 1, drills: 3}
    items = [f"{file}::test_{number}" for file, count in counts.items() for number in range(count)]
    files = list(dict.fromkeys(item.partition("::")[0] for item in in_order(items)))
    assert files == [drills, soak, many, few]
    assert [item for item in in_order(items) if drills in item] == [
        f"{drills}::test_{number}" for number in range(3)
    ]

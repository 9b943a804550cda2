"""Fixtures of every test; each group has a module in `fixtures/`."""

pytest_plugins = [
    "tests.fixtures.patience",
    "tests.fixtures.targets",
    "tests.fixtures.cluster",
    "tests.fixtures.database",
    "tests.fixtures.identity",
    "tests.fixtures.issuer",
    "tests.fixtures.objects",
    "tests.fixtures.people",
    "tests.fixtures.storage",
    "tests.fixtures.bastion",
    "tests.fixtures.collectors",
    "tests.fixtures.workbench",
    "tests.fixtures.runs",
    "tests.fixtures.toy",
    "tests.fixtures.clients",
    "tests.fixtures.replicas",
    "tests.fixtures.standby_readers",
    "tests.fixtures.imports",
    "tests.fixtures.otlp",
    "tests.fixtures.changes",
]

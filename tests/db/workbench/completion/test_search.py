"""Search in a catalogue, and the index that it shares with completion."""

import gc

import pytest

from db.errors import BadInput
from db.workbench.completion.catalogue_index import _INDEXES, CatalogueIndex, index_of
from db.workbench.completion.names import MatchKind, NameTable
from db.workbench.completion.results import SearchKind
from db.workbench.completion.search import MAX_SEARCH_CHARS, search_catalogue
from tests.fixtures.shop_catalogue import shop_snapshot

INDEX = CatalogueIndex(shop_snapshot())


def found(text: str, *kinds: SearchKind, first: int = 10) -> list[str]:
    return [
        f"{each.schema_name}.{each.parent}.{each.name}"
        if each.parent
        else f"{each.schema_name}.{each.name}"
        for each in search_catalogue(INDEX, text, kinds, first)
    ]


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ("orders", [SearchKind.TABLE], ["billing.orders", "public.orders"]),
        ("ORDERS", [SearchKind.TABLE], ["billing.orders", "public.orders"]),
        ("order", [SearchKind.TABLE], ["billing.orders", "public.orders", "public.order_items"]),
        ("items", [SearchKind.TABLE], ["public.order_items"]),
        ("tem", [SearchKind.TABLE], ["public.order_items"]),
        (
            "customers",
            [],
            ["public.customers", "public.active_customers", "public.search_customers"],
        ),
        ("order_id", [], ["billing.invoices.order_id", "public.order_items.order_id"]),
        ("camelcase", [], ["public.Weird Table.camelCase"]),
        ("weird t", [], ["public.Weird Table"]),
        ("billing", [SearchKind.SCHEMA], ["billing.billing"]),
        (
            "billing.inv",
            [],
            ["billing.invoices", "billing.invoice_state", "billing.invoice_numbers"],
        ),
        ("orders.pla", [], ["public.orders.placed_at"]),
        ("month", [SearchKind.MATERIALIZED_VIEW], ["public.monthly_sales"]),
        ("month", [SearchKind.PROCEDURE], ["billing.close_month"]),
        ("rates", [SearchKind.FOREIGN_TABLE], ["billing.rates"]),
        ("status", [SearchKind.TYPE], ["public.order_status", "public.customer_status"]),
        ("orders_id", [SearchKind.SEQUENCE], ["public.orders_id_seq"]),
        ("array_agg", [SearchKind.AGGREGATE], ["pg_catalog.array_agg"]),
        ("array_agg", [SearchKind.FUNCTION], []),
        ("measure", [], ["public.measurements"]),
        ("not there", [], []),
        ("%", [], []),
    ],
)
def test_search_ranks_exact_matches_prefixes_and_parts(
    text: str, kinds: list[SearchKind], expected: list[str]
) -> None:
    assert found(text, *kinds) == expected


def test_search_lists_objects_of_postgresql_last() -> None:
    names = found("tab", SearchKind.TABLE, SearchKind.VIEW, SearchKind.COLUMN)
    assert names == [
        "audit.events.table_name",
        "public.Weird Table",
        "information_schema.tables",
        "information_schema.tables.table_name",
        "information_schema.tables.table_schema",
    ]


def test_search_returns_the_first() -> None:
    assert len(found("e", first=3)) == 3


@pytest.mark.parametrize("text", ["", "  ", "a" * (MAX_SEARCH_CHARS + 1)])
def test_search_refuses(text: str) -> None:
    with pytest.raises(BadInput):
        search_catalogue(INDEX, text, (), 1)


def test_name_table_finds_what_a_scan_finds() -> None:
    names = ["orders", "order_items", "Vendor", "vendor_orders", "a_b_or", "or", "x", "or\nder", ""]
    table = NameTable([(name, name) for name in names])
    assert list(table.find("or", 10)) == [
        (MatchKind.EXACT, "or"),
        (MatchKind.PREFIX, "or\nder"),
        (MatchKind.PREFIX, "order_items"),
        (MatchKind.PREFIX, "orders"),
        (MatchKind.WORD, "a_b_or"),
        (MatchKind.WORD, "vendor_orders"),
        (MatchKind.INSIDE, "Vendor"),
    ]
    assert [value for _, value in table.find("or", 1)] == ["or", "a_b_or", "Vendor"]
    assert len(list(table.find("", 100))) == len(names)
    assert list(table.find("\n", 10)) == []


def test_index_lives_as_long_as_its_snapshot() -> None:
    snapshot = shop_snapshot()
    index = index_of(snapshot)
    assert index_of(snapshot) is index
    key = id(snapshot)
    assert key in _INDEXES
    del snapshot
    gc.collect()
    assert key not in _INDEXES

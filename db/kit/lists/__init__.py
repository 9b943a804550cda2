"""Lists of rows: pages and cursors, rows as records, partial rows, ends by size."""

"""Query runs on users' databases: scheduling, execution, cancellation and live status."""

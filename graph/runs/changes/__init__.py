"""Row editing: `changeRows`."""

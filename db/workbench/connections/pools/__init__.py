"""The pools of a process: which are open, and when each is closed."""

"""The server process: uvicorn, signals, logs, metrics and probes."""

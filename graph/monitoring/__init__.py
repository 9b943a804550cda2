"""What is told of a server to those who look after it: probes, metrics, logs."""

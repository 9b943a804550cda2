"""What every request passes: request IDs, origins, proxies and headers for all responses."""

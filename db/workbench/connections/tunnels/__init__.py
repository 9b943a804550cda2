"""SSH tunnels to users' databases, each in a thread of its own."""

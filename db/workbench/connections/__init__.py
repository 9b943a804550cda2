"""Connections to users' databases: policy, tunnels, pools and saved credentials."""

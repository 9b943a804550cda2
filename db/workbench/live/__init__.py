"""What running statements do now: their progress, and what they wait for."""

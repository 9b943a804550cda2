"""What a process counts and logs about its statements on Howdah's own database."""

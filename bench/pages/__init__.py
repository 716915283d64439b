"""Local web pages of bench: no JavaScript framework, and no data leaves the machine."""

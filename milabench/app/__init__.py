"""One flow function per verb."""

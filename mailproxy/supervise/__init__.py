"""What the master decides: how many children, when, and when not."""

"""Who may log in, and what is known of him: mechanisms, passdb chain, cache."""

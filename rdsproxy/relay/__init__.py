"""One client's life: borrow, restore, relay, give back."""

"""What the servers of a laptop need of whoever starts them, and how one server takes the place of another."""

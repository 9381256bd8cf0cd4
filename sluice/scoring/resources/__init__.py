"""What a server may take of its machine: the limits that its process sets itself, and how much it takes now."""

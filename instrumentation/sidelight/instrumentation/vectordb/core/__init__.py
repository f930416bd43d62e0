"""What the wrappers of all databases share."""

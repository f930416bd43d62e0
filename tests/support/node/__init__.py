"""What tests run with Node, because its packages are in no Python."""

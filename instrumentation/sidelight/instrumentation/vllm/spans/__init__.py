"""What was captured and what the engine reported, described as spans."""

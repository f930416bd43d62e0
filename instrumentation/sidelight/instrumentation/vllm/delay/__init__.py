"""Where the time of a request went: its phases, and the causes of its delay."""

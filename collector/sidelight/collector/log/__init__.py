"""The durable log: what was acknowledged is here until every destination has it."""

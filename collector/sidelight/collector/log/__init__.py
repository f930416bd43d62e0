"""The durable log: what has been acknowledged stands here until every destination has it."""

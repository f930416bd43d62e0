"""`sidelight doctor --pod`: whether the vLLM beside this collector is observed, and if not, why."""

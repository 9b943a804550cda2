"""Query plans: `explainQuery`, and the types of a plan."""

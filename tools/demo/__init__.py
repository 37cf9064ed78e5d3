"""Train and describe the demo networks."""

"""One forward pass watched from below: module calls, data flow and products."""

"""Watch one forward pass: module calls, data flow and products."""

"""Fuzzing with a guide: what is tried next is what reaches code that nothing has reached before (`make fuzz`)."""

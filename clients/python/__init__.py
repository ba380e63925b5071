"""The Python client of Brain2, and what generates parts of it."""

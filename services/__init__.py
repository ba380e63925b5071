"""The four bounded contexts of Brain2, one package and one process each; none imports another's code."""

"""Generated from the .proto files of Brain2 by `make proto`."""

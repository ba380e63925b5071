"""Ways into Brain2 for people and programs: a Python client, the console (HTTP, MCP, the graph view), the MCP server.

Everything here uses the public API alone. Nothing here is imported by a service, and a service needs none of it.
"""

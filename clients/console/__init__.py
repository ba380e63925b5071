"""The console: one small process that offers the four services over HTTP.

It answers every RPC in Connect's protocol, which curl and browsers speak, serves the graph view and the MCP server, and
holds no data. The token of a caller is passed on with each call: the services decide what it allows.
"""

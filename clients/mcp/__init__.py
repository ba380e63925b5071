"""The MCP server of Brain2: tools and resources for language models and their programs."""

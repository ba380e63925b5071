"""Events between the contexts: the envelope (pure), the outbox that publishes them, the consumer that hears them.

Import the module you need; the core of a context may import shared.events.envelope and nothing else of this package.
"""

"""Measures the graph view in a real browser with made-up graphs: first paint, drawing, frames and memory."""

"""WebSocket as pure machines."""

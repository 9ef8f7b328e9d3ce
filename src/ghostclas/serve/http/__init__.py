"""HTTP: the people's REST, the Open Inference Protocol v2, and the page, in one ASGI application."""

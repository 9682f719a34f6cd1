"""What the API and the page have in common at their edge to the network: plain ASGI, no routes."""

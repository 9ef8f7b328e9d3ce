"""Paddle Serving's messages, which its clients send by bRPC, gRPC and HTTP, and the pictures in them."""

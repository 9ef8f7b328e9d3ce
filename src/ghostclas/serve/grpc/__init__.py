"""gRPC: the Open Inference Protocol, health, reflection, and the services of Paddle Serving."""

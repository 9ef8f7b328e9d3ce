"""bRPC: ``baidu_std`` frames over TCP, with the services of Paddle Serving."""

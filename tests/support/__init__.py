"""What tests share: small worlds, processes, images, servers."""

"""What Stella asks of the cloud it runs in, and who answers."""

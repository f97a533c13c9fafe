"""What the cloud knows: the API's models, its endpoints, our credentials, and the two calls that we make."""

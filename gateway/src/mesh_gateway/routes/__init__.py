"""What the gateway serves over HTTP, a module for each subject."""

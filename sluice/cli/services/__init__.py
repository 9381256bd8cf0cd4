"""The commands that run the services beside production: the drift monitor and the webhook."""

"""Ways to where devices meet: a server over HTTP, or a plain folder."""
